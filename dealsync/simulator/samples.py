"""A world made of recorded payloads instead of a seeded one, so that the APIs serve them as recorded.

Layout of the folder: `lemon-squeezy/api/*.json` (exchanges with request and response) and `kommo/*.json`
(bodies). Objects keep unknown keys, and fields an older capture lacks stay missing.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from dealsync.simulator import premises
from dealsync.simulator.lemonsqueezy.catalogue import TYPES
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

# File name patterns of Kommo bodies that hold stored objects, and the plural they hold.
KOMMO_LISTS = {
    "users_list*.json": "users",
    "pipelines_list*.json": "pipelines",
    "contacts_list*.json": "contacts",
    "leads_list*.json": "leads",
}
KOMMO_OBJECTS = {"contact_get*.json": "contacts", "lead_get*.json": "leads", "user_get*.json": "users"}


def recorded(folder: Path, *, seed: int = 1, now: datetime | None = None, running: bool = True) -> World:
    """Return a world that holds what the files of `folder` hold. Raises FileNotFoundError without any."""
    world = World(seed, now, running=running)
    premises.furnish_account(world.kommo, int(world.clock.now()))
    world.lemon_squeezy.user = premises.store_user(world.clock.now())
    exchanges = list(_exchanges(folder))
    if not exchanges and not any(folder.glob("kommo/*.json")):
        raise FileNotFoundError(f"no recorded payloads in {folder}")
    for body in exchanges:
        _load_lemon_squeezy(world, body)
    _load_kommo(world, folder / "kommo")
    return world


# --- Lemon Squeezy --------------------------------------------------------------------------------
def _exchanges(folder: Path) -> Iterator[Record]:
    for path in sorted(folder.glob("lemon-squeezy/api/*.json")):
        body = json.loads(path.read_text(encoding="utf-8")).get("response", {}).get("body")
        if isinstance(body, dict) and "data" in body:
            yield body


def _load_lemon_squeezy(world: World, body: Record) -> None:
    data = body["data"]
    for resource in data if isinstance(data, list) else [data]:
        if resource["type"] == "users":
            world.lemon_squeezy.user = {key: resource[key] for key in ("type", "id", "attributes")}
            world.lemon_squeezy.test_mode_key = bool(body.get("meta", {}).get("test_mode"))
        elif resource["type"] in TYPES and _is_newer(world, resource):
            world.lemon_squeezy.adopt(resource)


def _is_newer(world: World, resource: Record) -> bool:
    """Tell whether this capture of an object is at least as new as the one we hold."""
    held = world.lemon_squeezy.find(resource["type"], resource["id"])
    return held is None or _updated(held) <= _updated(resource)


def _updated(resource: Record) -> str:
    return str(resource["attributes"].get("updated_at", ""))


# --- Kommo ----------------------------------------------------------------------------------------
def _load_kommo(world: World, folder: Path) -> None:
    if any(folder.glob("pipelines_list*.json")):
        world.kommo.pipelines.clear()
    if any(folder.glob("users_list*.json")):
        world.kommo.users.clear()
    for pattern, plural in KOMMO_LISTS.items():
        for path in sorted(folder.glob(pattern)):
            for record in _read(path).get("_embedded", {}).get(plural, ()):
                _adopt(world, plural, record)
    for pattern, plural in KOMMO_OBJECTS.items():
        for path in sorted(folder.glob(pattern)):
            _adopt(world, plural, _read(path))
    _load_settings(world, folder)


def _adopt(world: World, plural: str, record: Record) -> None:
    account = world.kommo
    if plural == "users":
        account.users[record["id"]] = record
    elif plural == "pipelines":
        account.pipelines[record["id"]] = record
    else:
        embedded = {"tags": [], "companies": [], **record.get("_embedded", {})}
        account.file(plural, {**record, "_embedded": embedded}, fresh=False)
        for tag in record.get("_embedded", {}).get("tags", ()):
            account.tags[plural].setdefault(tag["id"], tag)


def _load_settings(world: World, folder: Path) -> None:
    for path in sorted(folder.glob("account*.json")):
        world.kommo.account = _read(path)
    for path in sorted(folder.glob("custom_fields_list*.json")):
        for field in _read(path)["_embedded"]["custom_fields"]:
            world.kommo.custom_fields["leads"][field["id"]] = field


def _read(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return body
