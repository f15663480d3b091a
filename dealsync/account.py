"""The names in `dealsync.toml` -> ids of the live Kommo account."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import available_timezones

from pydantic import TypeAdapter

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Account, CustomField, Pipeline, Status, User
from dealsync.config import Config, FunnelSection, NameOrId, ProductSection, RotaEntry, VariantSection
from dealsync.core.asking import WORDS
from dealsync.core.deadlines import Deadline
from dealsync.core.mapping import FIELDS, other_field
from dealsync.core.models import minor_digits
from dealsync.core.owners import Absences, Owners, RotaUser
from dealsync.core.policy import CheckoutPolicy, Funnel, Policy, VariantRule
from dealsync.core.products import ProductRule
from dealsync.core.texts import Texts
from dealsync.errors import ConfigError
from dealsync.ledger.accounts import Accounts
from dealsync.settings import Settings

T = TypeVar("T")
FREE_TEXT = frozenset({"text", "textarea", "url", "tracking_data", "numeric"})
"""Kommo's types of fields that custom data can be written into. Source: Kommo reference, "Custom field values"."""


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
        """The keys of the LS fields by field id, and of the others that checkouts are made from."""
        others = self.policy.checkout.field_ids
        return {
            **{field_id: other_field(field_id) for field_id in others},
            **{field_id: key for key, field_id in self.field_ids.items()},
        }


_VIEW = TypeAdapter(AccountView)


async def read_account(kommo: Kommo) -> AccountView:
    """Read what names are looked up in: four requests. Raises Unauthorized, Unreachable."""
    account = await kommo.account()
    pipelines = await kommo.pipelines()
    users = await kommo.users()
    fields = await kommo.deal_custom_fields()
    return AccountView(account, tuple(pipelines), tuple(users), tuple(fields))


async def find_account(
    settings: Settings, kommo: Kommo, accounts: Accounts, *, max_age: timedelta = timedelta(0)
) -> tuple[AccountView, Directory]:
    """Return the account and its directory; as any run read it within `max_age`, if all names are found in that.

    Raises as `read_account` and `resolve`.
    """
    origin, now = settings.environment.kommo_origin, datetime.now(UTC)
    known = accounts.read_since(origin, now - max_age) if max_age else None
    if known is not None:
        view = _VIEW.validate_python(known)
        with suppress(ConfigError):  # what is new in the configuration may be new in the account
            return view, resolve(settings, view)
    view = await read_account(kommo)
    keep_account(accounts, origin, view)
    return view, resolve(settings, view)


def keep_account(accounts: Accounts, origin: str, view: AccountView) -> None:
    """Remember what was just read."""
    accounts.keep(origin, _VIEW.dump_python(view, mode="json"), datetime.now(UTC))


def resolve(settings: Settings, view: AccountView) -> Directory:
    """Return the policy for this account. Raises ConfigError naming what does not exist, and what does."""
    config = settings.config
    watched = find_funnels(view.pipelines, config)
    field_ids = find_fields(view.fields, config)
    store_ids = frozenset({settings.environment.lemon_squeezy_store_id, *config.lemon_squeezy.stores})
    custom = find_custom_fields(view.fields, config, field_ids)
    policy = Policy(
        store_ids=store_ids,
        test_mode=settings.environment.is_test_mode,
        funnels=tuple(funnel for funnel, _ in watched),
        account_currency=view.account.currency,
        owners=find_owners(view.users, config),
        products=find_products([pipeline for _, pipeline in watched], config, store_ids),
        custom_fields={key: field.field_id for key, field in custom.items()},
        numeric_fields=frozenset(field.field_id for field in custom.values() if field.field_type == "numeric"),
        self_serve_tag=config.self_serve.tag,
        company_key=config.self_serve.company_key.strip(),
        asks_about_unpaid_checkouts=config.matching.unpaid_checkouts == "review",
        texts=Texts(
            language=config.texts.language,
            locale=config.texts.locale,
            zone=find_zone(view.account.time_zone, config),
            overrides=config.texts.overrides(),
        ),
        window=timedelta(days=config.matching.window_days),
        max_auto_amount=config.matching.max_auto_amount,
        settle=timedelta(minutes=config.matching.settle_minutes),
        amount_tolerance=config.policy.amount_tolerance,
        reopen_lost=config.policy.reopen_lost,
        stuck_after=timedelta(hours=config.policy.stuck_after_hours),
        notify_since=config.policy.notify_since,
        price_digits=minor_digits(view.account.currency) if config.kommo.minor_units else 0,
        price_is_net=config.policy.price == "net",
        flags_zero_decimal=config.policy.zero_decimal == "flag",
        trial_wins=config.policy.trial_wins,
        renewal_deals=config.policy.renewal_deals,
        reminder=timedelta(days=config.policy.renewal_reminder_days) or None,
        deadline=Deadline(config.tasks.due_days, config.tasks.due_hour, find_zone(view.account.time_zone, config)),
        task_type_id=config.tasks.type,
        active_users=frozenset(user.user_id for user in view.users if user.is_active),
        checkout=find_checkout(view.fields, [pipeline for _, pipeline in watched], settings, store_ids, field_ids),
    )
    return Directory(policy, field_ids, view.account.subdomain)


def find_checkout(
    fields: Sequence[CustomField],
    watched: Sequence[Pipeline],
    settings: Settings,
    store_ids: Collection[str],
    field_ids: Mapping[str, int],
) -> CheckoutPolicy:
    """Return what checkouts are made of. Raises ConfigError for stores, pipelines and fields that are not there."""
    section, email, environment = settings.config.checkout, settings.config.email, settings.environment
    own = environment.lemon_squeezy_store_id

    def field_id(wanted: NameOrId | None, key: str) -> int | None:
        return None if wanted is None else _other_field(fields, wanted, f"checkout.{key}", field_ids)

    def rule(number: int, entry: VariantSection) -> VariantRule:
        key = f"checkout.variants.{number}"
        pipeline = None if entry.pipeline is None else _watched(watched, entry.pipeline, f"{key}.pipeline")
        return VariantRule(
            store_id=_watched_store(entry.store or own, f"{key}.store", store_ids),
            variant_id=entry.variant,
            pipeline_id=pipeline.pipeline_id if pipeline else None,
            tag=entry.tag,
            field_id=field_id(entry.field, f"variants.{number}.field"),
            value=entry.value,
        )

    words = {name: source for name, source in section.custom.items() if source in WORDS}
    named = {name: field_id(source, f"custom.{name}") or 0 for name, source in section.custom.items() - words.items()}
    return CheckoutPolicy(
        store_id=own,
        variant_id=environment.lemon_squeezy_variant_id,
        rules=tuple(rule(number, entry) for number, entry in enumerate(section.variants)),
        custom_price=section.custom_price,
        sells_without_price=section.allow_zero_price,
        quantity_field=field_id(section.quantity_field, "quantity_field"),
        discount_field=field_id(section.discount_field, "discount_field"),
        custom={name: words.get(name) or named[name] for name in section.custom},
        expires=timedelta(days=section.expires_days) or None,
        when_expired=section.when_expired,
        remind_after=timedelta(days=section.remind_after_days) or None,
        remind_by=section.remind_by,
        mails=email.to_client,
        company=email.company,
        html=email.html(),
    )


def _watched_store(store_id: str, key: str, store_ids: Collection[str]) -> str:
    if store_id not in store_ids:
        raise ConfigError(
            f"dealsync.toml: {key} = {store_id} is not watched; those that are: {', '.join(sorted(store_ids))}. "
            "Add it to lemon_squeezy.stores"
        )
    return store_id


def _other_field(fields: Sequence[CustomField], wanted: NameOrId, key: str, field_ids: Mapping[str, int]) -> int:
    """A field of deals that is not one of ours."""
    found = find_field(fields, wanted)
    if found is None:
        known = ", ".join(f"{f.name} ({f.field_id})" for f in fields if f.field_id not in field_ids.values()) or "none"
        raise ConfigError(f"dealsync.toml: {key} = {wanted!r} names no field of Kommo's deals, which have: {known}")
    if found in field_ids.values():
        raise ConfigError(f"dealsync.toml: {key} = {wanted!r} is a field that dealsync fills itself; name another one")
    return found


def find_zone(account_zone: str, config: Config) -> str:
    """Return the time zone of deadlines and dates: the configured one, the account's, or UTC if it is unknown here."""
    zone = config.tasks.time_zone or account_zone
    return zone if zone in available_timezones() else "UTC"


def find_funnels(pipelines: Sequence[Pipeline], config: Config) -> list[tuple[Funnel, Pipeline]]:
    """Return what is watched, the home pipeline first. Raises ConfigError, also for a pipeline named twice."""
    watched = [_funnel(pipelines, config.kommo, "kommo")]
    for number, section in enumerate(config.pipelines):
        found = _funnel(pipelines, section, f"pipelines.{number}")
        if found[0].pipeline_id in {funnel.pipeline_id for funnel, _ in watched}:
            raise ConfigError(
                f"dealsync.toml: pipelines.{number}.pipeline = {section.pipeline!r} is watched already; take it out"
            )
        watched.append(found)
    return watched


def _funnel(pipelines: Iterable[Pipeline], section: FunnelSection, key: str) -> tuple[Funnel, Pipeline]:
    pipeline = find_pipeline(pipelines, section.pipeline, f"{key}.pipeline")
    invoice = find_status(pipeline, section.invoice_status, f"{key}.invoice_status")
    attention = find_status(pipeline, section.attention_status, f"{key}.attention_status")
    return Funnel(pipeline.pipeline_id, invoice.status_id, attention.status_id), pipeline


def find_pipeline(pipelines: Iterable[Pipeline], wanted: NameOrId, key: str = "kommo.pipeline") -> Pipeline:
    """Return the pipeline of that name (case does not matter) or id; `key` is the setting that names it."""
    known = list(pipelines)
    found = [p for p in known if means(wanted, p.pipeline_id, p.name)]
    return _only(found, f"{key} = {wanted!r}", _named(known))


def find_status(pipeline: Pipeline, wanted: NameOrId, key: str) -> Status:
    """Return the status of that name or id in a pipeline; one that a deal can be moved to."""
    known = [s for s in pipeline.statuses if s.accepts_deals]
    found = [s for s in known if means(wanted, s.status_id, s.name)]
    return _only(found, f"{key} = {wanted!r}", (f"{s.name} ({s.status_id})" for s in known))


def find_products(watched: Sequence[Pipeline], config: Config, store_ids: Collection[str]) -> tuple[ProductRule, ...]:
    """Return the product mapping. Raises ConfigError for stores and pipelines that are not watched."""
    return tuple(
        _product(section, f"products.{number}", watched, store_ids) for number, section in enumerate(config.products)
    )


def _product(section: ProductSection, key: str, watched: Sequence[Pipeline], store_ids: Collection[str]) -> ProductRule:
    if section.store:
        _watched_store(section.store, f"{key}.store", store_ids)
    pipeline = None if section.pipeline is None else _watched(watched, section.pipeline, f"{key}.pipeline")
    attention = None
    if pipeline is not None and section.attention_status is not None:
        attention = find_status(pipeline, section.attention_status, f"{key}.attention_status").status_id
    return ProductRule(
        store_id=section.store,
        product_id=section.product,
        variant_id=section.variant,
        pipeline_id=pipeline.pipeline_id if pipeline else None,
        attention_status_id=attention,
        tag=section.tag,
        name=section.name,
    )


def _watched(watched: Sequence[Pipeline], wanted: NameOrId, key: str) -> Pipeline:
    if not any(means(wanted, p.pipeline_id, p.name) for p in watched):
        raise ConfigError(
            f"dealsync.toml: {key} = {wanted!r} is not watched; those that are: {', '.join(_named(watched))}. "
            "Name one of them, or add it as [[pipelines]]"
        )
    return find_pipeline(watched, wanted, key)


def find_owners(users: Iterable[User], config: Config) -> Owners:
    """Return who gets self-serve deals; inactive users are passed over.

    A zone whose users are all inactive is none. Raises ConfigError for ids that the account does not know.
    """
    section, known = config.owners, {user.user_id: user.is_active for user in users}
    away: dict[int, Absences] = {}
    for number, absence in enumerate(section.absences):
        _ensure_known(absence.user, f"owners.absences.{number}.user", known)
        away[absence.user] = (*away.get(absence.user, ()), (absence.first, absence.last))
    if section.default is not None:
        _ensure_known(section.default, "owners.default", known)
    zones = {zone: _rota(rota, f"owners.zones.{zone}", known, away) for zone, rota in section.zones.items()}
    return Owners(
        strategy=section.strategy,
        users=_rota(section.users, "owners.users", known, away),
        default=section.default if section.default is not None and known[section.default] else None,
        zone_by=section.zone_by,
        zones={zone: rota for zone, rota in zones.items() if rota},
        default_absences=away.get(section.default, ()) if section.default is not None else (),
    )


def _rota(
    entries: Iterable[RotaEntry], key: str, known: Mapping[int, bool], away: Mapping[int, Absences]
) -> tuple[RotaUser, ...]:
    rota = []
    for entry in entries:
        _ensure_known(entry.id, key, known)
        if known[entry.id]:
            rota.append(RotaUser(entry.id, entry.weight, away.get(entry.id, ())))
    return tuple(rota)


def _ensure_known(user_id: int, key: str, known: Mapping[int, bool]) -> None:
    if user_id not in known:
        active = ", ".join(str(other) for other, is_active in known.items() if is_active)
        raise ConfigError(
            f"dealsync.toml: {key} names user {user_id}, whom Kommo does not know; its active users: {active}"
        )


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


def find_custom_fields(
    fields: Sequence[CustomField], config: Config, field_ids: Mapping[str, int]
) -> dict[str, CustomField]:
    """Return the fields that custom data goes into, by its key. Raises ConfigError for one that cannot take it."""
    found: dict[str, CustomField] = {}
    taken = {field_id: f"fields.{key}" for key, field_id in field_ids.items()}
    for key, wanted in config.self_serve.fields.items():
        setting = f"self_serve.fields.{key}"
        field = _free_text(fields, wanted, setting)
        if field.field_id in taken:
            raise ConfigError(
                f"dealsync.toml: {setting} = {wanted!r} is the field of {taken[field.field_id]}; name another one"
            )
        found[key], taken[field.field_id] = field, setting
    return found


def _free_text(fields: Sequence[CustomField], wanted: NameOrId, setting: str) -> CustomField:
    able = [f for f in fields if f.field_type in FREE_TEXT]
    field_id = find_field(able, wanted)
    if field_id is not None:
        return next(f for f in able if f.field_id == field_id)
    other = next((f for f in fields if means(wanted, f.field_id, f.name)), None)
    problem = f"is of type {other.field_type}, which holds no free text" if other else "names no field of Kommo's deals"
    known = ", ".join(f"{f.name} ({f.field_id})" for f in able) or "none"
    raise ConfigError(f"dealsync.toml: {setting} = {wanted!r} {problem}. Those that could take it: {known}")


def means(wanted: NameOrId, item_id: int, name: str) -> bool:
    """Whether a name (case does not matter) or id in the configuration means this object."""
    if isinstance(wanted, int):
        return wanted == item_id
    return wanted.strip().casefold() == name.strip().casefold()


def _named(pipelines: Iterable[Pipeline]) -> list[str]:
    return [f"{p.name} ({p.pipeline_id})" for p in pipelines]


def _only(found: list[T], setting: str, known: Iterable[str]) -> T:
    if len(found) == 1:
        return found[0]
    problem = "names several" if found else "names nothing"
    raise ConfigError(
        f"dealsync.toml: {setting} {problem} in Kommo, which has: {', '.join(known)}. Mend it or use an id"
    )
