"""`dealsync init`: look at both accounts, make the missing LS fields, write `dealsync.toml`. Safe to repeat."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from dealsync.account import AccountView, find_field, find_pipeline, find_status, means, read_account
from dealsync.apis.kommo import render
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import CustomField, Pipeline
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.config import Config, NameOrId, parse_config
from dealsync.core.mapping import FIELDS
from dealsync.errors import ConfigError
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.runs import utc_now
from dealsync.registering import register_kommo, register_lemon_squeezy
from dealsync.settings import Environment, Store, build_kommo, build_lemon_squeezy, build_store

Choose = Callable[[str, Sequence[str]], str | None]
"""Asks a person to pick one of some names; None when there is nobody to ask."""

GROUP = "Lemon Squeezy"
"""The group of deals' fields that the LS fields are made in."""
DEFAULTS = {"invoice_status": "Invoice sent", "attention_status": "Needs attention"}
COMMENTS = {
    "kommo": "Names or ids. Deals in this pipeline are matched by their contact's e-mail.",
    "owners": "Who gets deals that clients paid for by themselves, in turn.",
    "receiver": "Where both accounts and buyers reach the receiver.",
    "policy": "Notes and tasks tell of nothing that happened before this moment.",
    "fields": "The LS fields of deals, by id: they may be renamed in Kommo.",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; None leaves it to what the file says, then to the defaults."""

    pipeline: NameOrId | None = None
    invoice_status: NameOrId | None = None
    attention_status: NameOrId | None = None
    receiver_url: str | None = None  # where both accounts reach the receiver; then their webhooks are registered


@dataclass(frozen=True, slots=True)
class SetUp:
    """What `init` found and did."""

    account: str
    store: str
    pipeline: str
    statuses: dict[str, str]
    users: dict[int, str]
    fields_made: tuple[str, ...]
    config: Path
    changed: bool
    webhooks: tuple[str, ...] = ()  # what was found and done about them, a line each

    def as_json(self) -> dict[str, Any]:
        """Return what was found and done as plain values."""
        return {
            "account": self.account,
            "store": self.store,
            "pipeline": self.pipeline,
            "statuses": self.statuses,
            "users": [{"id": user_id, "name": name} for user_id, name in self.users.items()],
            "fields_made": list(self.fields_made),
            "config": str(self.config),
            "changed": self.changed,
            "webhooks": list(self.webhooks),
        }


async def set_up(environment: Environment, wishes: Wishes, choose: Choose) -> SetUp:
    """Check both keys, find names, make fields, write the configuration.

    Nothing is made or written before everything is found and the file is known to be right and writable.
    Raises Unauthorized, Unreachable, ConfigError, DatabaseError.
    """
    document = _read(environment.dealsync_config)
    with closing(build_store(environment)) as database:
        return await _set_up(environment, database, document, wishes, choose)


async def _set_up(
    environment: Environment, database: Store, document: tomlkit.TOMLDocument, wishes: Wishes, choose: Choose
) -> SetUp:
    path = environment.dealsync_config
    lemon_squeezy, kommo = build_lemon_squeezy(environment, database), build_kommo(environment, database)
    try:
        with told_as_ours():
            stores = {store.id: store.name for store in await lemon_squeezy.stores()}
            store = _store_name(stores, environment.lemon_squeezy_store_id, "LEMON_SQUEEZY_STORE_ID")
            view = await read_account(kommo)
            section = _section(document, "kommo", path)
            pipeline = _pipeline(view, wishes.pipeline or section.get("pipeline"), choose)
            statuses = {
                key: _status(pipeline, key, getattr(wishes, key) or section.get(key), choose) for key in DEFAULTS
            }
            users = {u.user_id: u.name for u in view.users if u.is_active}
            _name(document, "kommo", {"pipeline": (pipeline.pipeline_id, pipeline.name)} | statuses)
            _fill(document, "owners", {"strategy": "round_robin", "users": list(users)})
            _fill(document, "policy", {"notify_since": utc_now().replace(microsecond=0)})
            if wishes.receiver_url:
                _fill(document, "receiver", {"url": wishes.receiver_url}, overwrite=True)
            config = parse_config(tomlkit.parse(tomlkit.dumps(document)).unwrap(), path)
            for further in config.lemon_squeezy.stores:
                _store_name(stores, further, "lemon_squeezy.stores")
            _ensure_writable(path)
            made, field_ids = await _make_fields(kommo, view.fields, config)
            webhooks = await _register(lemon_squeezy, kommo, environment, config) if wishes.receiver_url else []
    finally:
        await lemon_squeezy.close()
        await kommo.close()
    _fill(document, "fields", field_ids, overwrite=True)
    return SetUp(
        account=f"{view.account.name} ({view.account.account_id})",
        store=store,
        pipeline=pipeline.name,
        statuses={key: name for key, (_, name) in statuses.items()},
        users=users,
        fields_made=made,
        config=path,
        changed=_write(path, document) or bool(made),
        webhooks=tuple(webhooks),
    )


async def _register(lemon_squeezy: LemonSqueezy, kommo: Kommo, environment: Environment, config: Config) -> list[str]:
    ours, receiver = {environment.lemon_squeezy_store_id, *config.lemon_squeezy.stores}, config.receiver.url
    lines = await register_lemon_squeezy(lemon_squeezy, environment, sorted(ours), receiver)
    return lines + await register_kommo(kommo, environment, receiver)


def _store_name(names: Mapping[str, str], store_id: str, setting: str) -> str:
    if store_id not in names:
        known = ", ".join(f"{name} ({known_id})" for known_id, name in names.items()) or "none"
        raise ConfigError(f"{setting} = {store_id} is not a store of this key, which sees: {known}")
    return f"{names[store_id]} ({store_id})"


def _pipeline(view: AccountView, wanted: NameOrId | None, choose: Choose) -> Pipeline:
    if wanted is None:
        wanted = choose("Which pipeline?", [p.name for p in view.pipelines])
    return find_pipeline(view.pipelines, view.pipelines[0].name if wanted is None else wanted)


def _status(pipeline: Pipeline, key: str, wanted: NameOrId | None, choose: Choose) -> tuple[int, str]:
    """The status for a role: as asked, as configured, by its usual name, else as a person picks."""
    names = [s.name for s in pipeline.statuses if s.accepts_deals]
    if wanted is None and DEFAULTS[key].casefold() not in (name.casefold() for name in names):
        wanted = choose(f"Which status is the {key.replace('_', ' ')}?", names)
    try:
        status = find_status(pipeline, DEFAULTS[key] if wanted is None else wanted, f"kommo.{key}")
    except ConfigError as error:
        option = f"--{key.replace('_', '-')}"
        raise ConfigError(
            f"Pipeline {pipeline.name} has no status for {key} (looked for {wanted or DEFAULTS[key]!r}). "
            f"It has: {', '.join(names)}. Add one in Kommo, or name one with {option}"
        ) from error
    return status.status_id, status.name


async def _make_fields(
    kommo: Kommo, present: Sequence[CustomField], config: Config
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Make the LS fields that are neither configured and there, nor there by name; return their names, and all ids."""
    ids = {f.key: find_field(present, config.fields.get(f.key)) or find_field(present, f.name) for f in FIELDS}
    made: list[CustomField] = []
    if None in ids.values():
        bodies = zip(FIELDS, render.ls_fields(await kommo.deal_field_group(GROUP)), strict=True)
        made = await kommo.create_deal_custom_fields([body for field, body in bodies if ids[field.key] is None])
    ids |= {field.key: find_field(made, field.name) for field in FIELDS if ids[field.key] is None}
    return tuple(field.name for field in made), {key: field_id for key, field_id in ids.items() if field_id}


def _read(path: Path) -> TOMLDocument:
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return document


def _section(document: TOMLDocument, name: str, path: Path) -> Any:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path} is wrong: {name} must be a section, [{name}]")
    return section


def _table(document: TOMLDocument, name: str) -> Any:
    if name not in document:
        table = tomlkit.table()
        if name in COMMENTS:
            table.comment(COMMENTS[name])
        document[name] = table
    return document[name]


def _name(document: TOMLDocument, name: str, found: dict[str, tuple[int, str]]) -> None:
    """Write names that were found, unless what stands there means the same."""
    table = _table(document, name)
    for key, (item_id, item_name) in found.items():
        if key not in table or not means(table[key], item_id, item_name):
            table[key] = item_name


def _fill(document: TOMLDocument, name: str, values: dict[str, Any], *, overwrite: bool = False) -> None:
    """Add keys to a section; a key that is there keeps its value, unless it is to be overwritten and differs."""
    table = _table(document, name)
    for key, value in values.items():
        if key not in table or (overwrite and table[key] != value):
            table[key] = value


def _ensure_writable(path: Path) -> None:
    place = path if path.exists() else path.absolute().parent
    if not os.access(place, os.W_OK):
        raise ConfigError(f"{path} cannot be written: no permission, or no such folder")


def _write(path: Path, document: TOMLDocument) -> bool:
    """Write the file if it changed; return whether it did."""
    text = tomlkit.dumps(document)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return True
