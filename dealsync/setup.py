"""`dealsync init`: look at both accounts, make the missing LS fields, write `dealsync.toml`. Safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from dealsync.account import AccountView, find_pipeline, find_status, read_account
from dealsync.apis.kommo import render
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import CustomField, Pipeline
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.core.mapping import FIELDS
from dealsync.errors import ConfigError
from dealsync.ledger.runs import utc_now
from dealsync.settings import Config, Environment, NameOrId, build_kommo, build_lemon_squeezy, build_store

Choose = Callable[[str, Sequence[str]], str | None]
"""Asks a person to pick one of some names; None when there is nobody to ask."""

DEFAULTS = {"invoice_status": "Invoice sent", "attention_status": "Needs attention"}
COMMENTS = {
    "kommo": "Names or ids. Deals in this pipeline are matched by their contact's e-mail.",
    "owners": "Who gets deals that clients paid for by themselves, in turn.",
    "policy": "Notes and tasks tell of nothing that happened before this moment.",
    "fields": "The LS fields of deals, by id: they may be renamed in Kommo.",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; None leaves it to what the file says, then to the defaults."""

    pipeline: NameOrId | None = None
    invoice_status: NameOrId | None = None
    attention_status: NameOrId | None = None


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
        }


async def set_up(environment: Environment, wishes: Wishes, choose: Choose) -> SetUp:
    """Check both keys, find names, make fields, write the configuration.

    Nothing is made or written before everything is found. Raises Unauthorized, Unreachable, ConfigError.
    """
    path = environment.dealsync_config
    document = _read(path)
    build_store(environment)
    lemon_squeezy, kommo = build_lemon_squeezy(environment), build_kommo(environment)
    try:
        store = await _store_name(lemon_squeezy, environment.lemon_squeezy_store_id)
        view = await read_account(kommo)
        section = document.get("kommo", {})
        pipeline = _pipeline(view, wishes.pipeline or section.get("pipeline"), choose)
        statuses = {key: _status(pipeline, key, getattr(wishes, key) or section.get(key), choose) for key in DEFAULTS}
        made = await _make_fields(kommo, view.fields)
    finally:
        await lemon_squeezy.close()
        await kommo.close()
    found = {field.key: field_id for field in FIELDS if (field_id := _field_id(field.name, [*view.fields, *made]))}
    users = {u.user_id: u.name for u in view.users if u.is_active}
    _fill(document, "kommo", {"pipeline": pipeline.name, **statuses}, overwrite=True)
    _fill(document, "owners", {"strategy": "round_robin", "users": list(users)})
    _fill(document, "policy", {"notify_since": utc_now().replace(microsecond=0)})
    _fill(document, "fields", found)
    return SetUp(
        account=f"{view.account.name} ({view.account.account_id})",
        store=store,
        pipeline=pipeline.name,
        statuses=statuses,
        users=users,
        fields_made=tuple(field.name for field in made),
        config=path,
        changed=_write(path, document) or bool(made),
    )


async def _store_name(lemon_squeezy: LemonSqueezy, store_id: str) -> str:
    stores = await lemon_squeezy.stores()
    names = {store.id: store.name for store in stores}
    if store_id not in names:
        known = ", ".join(f"{name} ({known_id})" for known_id, name in names.items()) or "none"
        raise ConfigError(f"LEMON_SQUEEZY_STORE_ID = {store_id} is not a store of this key, which sees: {known}")
    return f"{names[store_id]} ({store_id})"


def _pipeline(view: AccountView, wanted: NameOrId | None, choose: Choose) -> Pipeline:
    if wanted is None:
        wanted = choose("Which pipeline?", [p.name for p in view.pipelines])
    return find_pipeline(view.pipelines, view.pipelines[0].name if wanted is None else wanted)


def _status(pipeline: Pipeline, key: str, wanted: NameOrId | None, choose: Choose) -> str:
    """The status for a role: as asked, as configured, by its usual name, else as a person picks."""
    names = [s.name for s in pipeline.statuses if s.accepts_deals]
    if wanted is None and DEFAULTS[key].casefold() not in (name.casefold() for name in names):
        wanted = choose(f"Which status is the {key.replace('_', ' ')}?", names)
    try:
        return find_status(pipeline, DEFAULTS[key] if wanted is None else wanted, key).name
    except ConfigError as error:
        option = f"--{key.replace('_', '-')}"
        raise ConfigError(
            f"Pipeline {pipeline.name} has no status for {key} (looked for {wanted or DEFAULTS[key]!r}). "
            f"It has: {', '.join(names)}. Add one in Kommo, or name one with {option}"
        ) from error


async def _make_fields(kommo: Kommo, present: Sequence[CustomField]) -> list[CustomField]:
    missing = [body for body in render.ls_fields() if not _field_id(body["name"], present)]
    return await kommo.create_deal_custom_fields(missing) if missing else []


def _field_id(name: str, fields: Sequence[CustomField]) -> int | None:
    return min((f.field_id for f in fields if f.name.strip().casefold() == name.casefold()), default=None)


def _read(path: Path) -> TOMLDocument:
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return document


def _fill(document: TOMLDocument, name: str, values: dict[str, Any], *, overwrite: bool = False) -> None:
    """Add keys to a section; every key that is there already keeps its value, unless it is to be overwritten."""
    if name not in document:
        section = tomlkit.table()
        if name in COMMENTS:
            section.comment(COMMENTS[name])
        document[name] = section
    section = document[name]
    for key, value in values.items():
        if key not in section or (overwrite and section[key] != value and not isinstance(section[key], int)):
            section[key] = value


def _write(path: Path, document: TOMLDocument) -> bool:
    """Write the file if it changed, and only what `Config` accepts; return whether it changed."""
    text = tomlkit.dumps(document)
    Config.model_validate(tomlkit.parse(text).unwrap())
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error
    return True
