"""The names in `dealsync.toml` -> ids of the live Kommo account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Account, CustomField, Pipeline, Status, User
from dealsync.core.mapping import FIELDS
from dealsync.core.policy import Policy
from dealsync.errors import ConfigError
from dealsync.settings import Config, NameOrId, Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccountView:
    """What the Kommo account looks like: everything that names are looked up in."""

    account: Account
    pipelines: tuple[Pipeline, ...]
    users: tuple[User, ...]
    fields: tuple[CustomField, ...]


@dataclass(frozen=True, slots=True)
class Directory:
    """The policy with every name resolved, and the ids of the LS fields by key."""

    policy: Policy
    field_ids: dict[str, int]
    subdomain: str

    @property
    def field_keys(self) -> dict[int, str]:
        """The keys of the LS fields by field id."""
        return {field_id: key for key, field_id in self.field_ids.items()}


async def read_account(kommo: Kommo) -> AccountView:
    """Read what names are looked up in: four requests. Raises Unauthorized, Unreachable."""
    account = await kommo.account()
    pipelines = await kommo.pipelines()
    users = await kommo.users()
    fields = await kommo.deal_custom_fields()
    return AccountView(account, tuple(pipelines), tuple(users), tuple(fields))


def resolve(settings: Settings, view: AccountView) -> Directory:
    """Return the policy for this account. Raises ConfigError naming what does not exist, and what does."""
    config = settings.config
    pipeline = find_pipeline(view.pipelines, config.kommo.pipeline)
    policy = Policy(
        store_id=settings.environment.lemon_squeezy_store_id,
        test_mode=settings.environment.is_test_mode,
        pipeline_ids=frozenset({pipeline.pipeline_id}),
        home_pipeline_id=pipeline.pipeline_id,
        invoice_status_id=find_status(pipeline, config.kommo.invoice_status, "invoice_status").status_id,
        attention_status_id=find_status(pipeline, config.kommo.attention_status, "attention_status").status_id,
        account_currency=view.account.currency,
        owners=_active_owners(config, view.users),
        locale=config.texts.locale,
        window=timedelta(days=config.matching.window_days),
        max_auto_amount=config.matching.max_auto_amount,
        settle=timedelta(minutes=config.matching.settle_minutes),
        amount_tolerance=config.policy.amount_tolerance,
        reopen_lost=config.policy.reopen_lost,
        stuck_after=timedelta(hours=config.policy.stuck_after_hours),
        notify_since=config.policy.notify_since,
    )
    return Directory(policy, find_fields(view.fields, config), view.account.subdomain)


def find_pipeline(pipelines: Iterable[Pipeline], wanted: NameOrId) -> Pipeline:
    """Return the pipeline of that name (case does not matter) or id."""
    known = list(pipelines)
    found = [p for p in known if means(wanted, p.pipeline_id, p.name)]
    return _only(found, f"kommo.pipeline = {wanted!r}", (f"{p.name} ({p.pipeline_id})" for p in known))


def find_status(pipeline: Pipeline, wanted: NameOrId, key: str) -> Status:
    """Return the status of that name or id in a pipeline; one that a deal can be moved to."""
    known = [s for s in pipeline.statuses if s.accepts_deals]
    found = [s for s in known if means(wanted, s.status_id, s.name)]
    return _only(found, f"kommo.{key} = {wanted!r}", (f"{s.name} ({s.status_id})" for s in known))


def find_fields(fields: Sequence[CustomField], config: Config) -> dict[str, int]:
    """Return the ids of the LS fields by key: configured ones by id or name, the others by their own name."""
    ids = {field.key: find_field(fields, config.fields.get(field.key, field.name)) for field in FIELDS}
    missing = [field.name for field in FIELDS if ids[field.key] is None]
    if missing:
        raise ConfigError(f"Kommo's deals lack the fields {', '.join(missing)}. Make them with: dealsync init")
    return {key: field_id for key, field_id in ids.items() if field_id is not None}


def find_field(fields: Iterable[CustomField], wanted: NameOrId | None) -> int | None:
    """Return the id of the field of that name or id (the oldest of several); None if there is none."""
    return min((f.field_id for f in fields if wanted is not None and means(wanted, f.field_id, f.name)), default=None)


def _active_owners(config: Config, users: Iterable[User]) -> tuple[int, ...]:
    """The configured users that are active, in the configured order; a deleted or inactive one is passed over."""
    active = {u.user_id for u in users if u.is_active}
    return tuple(user_id for user_id in config.owners.users if user_id in active)


def means(wanted: NameOrId, item_id: int, name: str) -> bool:
    """Whether a name (case does not matter) or id in the configuration means this object."""
    if isinstance(wanted, int):
        return wanted == item_id
    return wanted.strip().casefold() == name.strip().casefold()


def _only(found: list[T], setting: str, known: Iterable[str]) -> T:
    if len(found) == 1:
        return found[0]
    problem = "names several" if found else "names nothing"
    raise ConfigError(
        f"dealsync.toml: {setting} {problem} in Kommo, which has: {', '.join(known)}. Mend it or use an id"
    )
