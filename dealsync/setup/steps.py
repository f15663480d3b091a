"""The steps of `dealsync init`, in their order. Safe to repeat."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dealsync.account import AccountView, keep_account
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.config import Config, NameOrId, Origin, words_of
from dealsync.errors import ApiError, ConfigError, Rejected, Unauthorized
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.runs import APPLYING_JOBS, DONE, utc_now
from dealsync.ledger.sent_secrets import SentSecrets
from dealsync.registering import receiver_address
from dealsync.settings import Environment, Store, build_kommo, build_lemon_squeezy, build_store
from dealsync.setup.accounts import find_environment
from dealsync.setup.choices import (
    USUAL,
    Stage,
    choose_owners,
    choose_pipeline,
    choose_stage,
    choose_variant,
    count_deals,
)
from dealsync.setup.config_file import ConfigFile
from dealsync.setup.files import EnvFile
from dealsync.setup.making import field_ids_of, make_fields, make_stages, refusal
from dealsync.setup.next_steps import Situation, next_steps
from dealsync.setup.questions import SILENT, Questions
from dealsync.setup.webhooks import Registrar, WebhookPlan

VARIANT = "LEMON_SQUEEZY_VARIANT_ID"
NOT_ADMIN = (
    "Kommo shows its users to admins only: nobody is named as owner, and runs need an admin's token. "
    "Put one into .env as KOMMO_TOKEN"
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; None leaves it to what the file says, then to a person or the defaults."""

    pipeline: NameOrId | None = None
    invoice_status: NameOrId | None = None
    attention_status: NameOrId | None = None
    receiver_url: str | None = None  # where both accounts reach the receiver; then their webhooks are registered
    create_stages: bool = False  # make stages that are missing, without asking
    renew_webhooks: bool = False  # set events and secrets of webhooks again, even if they seem right


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
    stages_made: tuple[str, ...] = ()
    env_names: tuple[str, ...] = ()  # settings that were written to `.env`
    remarks: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()  # what could not be done, and the way out
    next_steps: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what was found and done as plain values; no value of a setting is among them."""
        return {
            "account": self.account,
            "store": self.store,
            "pipeline": self.pipeline,
            "statuses": self.statuses,
            "users": [{"id": user_id, "name": name} for user_id, name in self.users.items()],
            "fields_made": list(self.fields_made),
            "stages_made": list(self.stages_made),
            "config": str(self.config),
            "changed": self.changed,
            "env_names": list(self.env_names),
            "webhooks": list(self.webhooks),
            "remarks": list(self.remarks),
            "unfinished": list(self.unfinished),
            "next_steps": list(self.next_steps),
        }


async def begin(wishes: Wishes, ask: Questions) -> SetUp:
    """Find working keys first, asking for those that are missing, then set everything up. Raises as `set_up`."""
    env = EnvFile()
    environment = await find_environment(env, ask)
    return await set_up(environment, wishes, ask, env=env)


async def set_up(
    environment: Environment, wishes: Wishes, ask: Questions = SILENT, *, env: EnvFile | None = None
) -> SetUp:
    """Check both keys, find names, make fields, write the configuration.

    Nothing is made or written before everything is found and asked, and the files are known to be right and writable.
    Raises Unauthorized, Unreachable, ConfigError, DatabaseError.
    """
    file = ConfigFile(environment.dealsync_config)
    with told_as_ours(), closing(build_store(environment)) as database:
        lemon_squeezy, kommo = build_lemon_squeezy(environment, database), build_kommo(environment, database)
        try:
            setting = _Setting(environment, wishes, ask, file, env or EnvFile(), database, lemon_squeezy, kommo)
            return await setting.carry_out()
        finally:
            await lemon_squeezy.close()
            await kommo.close()


@dataclass(frozen=True, slots=True)
class _Setting:
    """One `init`: look, ask, check, make, write."""

    environment: Environment
    wishes: Wishes
    ask: Questions
    file: ConfigFile
    env: EnvFile
    database: Store
    lemon_squeezy: LemonSqueezy
    kommo: Kommo
    remarks: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    async def carry_out(self) -> SetUp:
        stores = {store.id: store.name for store in await self.lemon_squeezy.stores()}
        store = _store_name(stores, self.environment.lemon_squeezy_store_id, "LEMON_SQUEEZY_STORE_ID")
        view = await self._look()
        await self._remark()
        deals = await count_deals(self.kommo) if self.ask.guided and self._is_first else None
        wanted = self.wishes.pipeline or self.file.value("kommo", "pipeline")
        pipeline = await choose_pipeline(view.pipelines, wanted, deals, self.ask)
        stages = {
            key: await choose_stage(pipeline, key, self._wish(key), deals, self.ask, create=self.wishes.create_stages)
            for key in USUAL
        }
        users = await self._owners(view)
        previous, receiver = self._known_receiver, await self._receiver()
        await self._variant()
        self._fill(pipeline.pipeline_id, pipeline.name, stages, list(users), receiver)
        config = self.file.parsed()
        for further in config.lemon_squeezy.stores:
            _store_name(stores, further, "lemon_squeezy.stores")
        webhooks = await self._webhooks(config, previous) if receiver else WebhookPlan()
        ids = field_ids_of(view.fields, config)
        self.file.ensure_writable()
        self.env.ensure_writable()
        await self._ask_leave([s.name for s in stages.values() if s.is_new], list(ids.values()).count(None), webhooks)
        stages_made = await self._make_stages(pipeline, list(stages.values()))
        fields_made = await self._make_fields(ids)
        lines = await webhooks.carry_out()
        env_names = tuple(self.env.changed) if self.env.write() else ()
        changed = self.file.write()
        await self._keep(view, is_changed=bool(fields_made or stages_made))
        return SetUp(
            account=f"{view.account.name} ({view.account.account_id})",
            store=store,
            pipeline=pipeline.name,
            statuses={key: stage.name for key, stage in stages.items()},
            users=users,
            fields_made=fields_made,
            config=self.file.path,
            changed=changed or bool(fields_made or stages_made or env_names),
            webhooks=tuple(lines),
            stages_made=stages_made,
            env_names=env_names,
            remarks=tuple(self.remarks),
            unfinished=tuple(self.unfinished),
            next_steps=tuple(next_steps(self._situation(config))),
        )

    # --- look and ask -----------------------------------------------------------------------------------------

    @property
    def _is_first(self) -> bool:
        return self.file.value("kommo", "pipeline") is None

    @property
    def _known_receiver(self) -> str:
        return receiver_address(str(self.file.value("receiver", "url") or ""))

    def _wish(self, key: str) -> NameOrId | None:
        wish: NameOrId | None = getattr(self.wishes, key)
        return self.file.value("kommo", key) if wish is None else wish

    async def _look(self) -> AccountView:
        """As `read_account`, but without users where only admins see them."""
        account, pipelines = await self.kommo.account(), await self.kommo.pipelines()
        try:
            users = await self.kommo.users()
        except Unauthorized as error:
            if error.status != 403:
                raise
            users = []
            self.unfinished.append(NOT_ADMIN)
        return AccountView(account, tuple(pipelines), tuple(users), tuple(await self.kommo.deal_custom_fields()))

    async def _keep(self, view: AccountView, *, is_changed: bool) -> None:
        """Let the first run have the names that were just read, with those that were made."""
        if not view.users:
            return  # only admins see them
        if is_changed:
            try:
                pipelines, fields = await self.kommo.pipelines(), await self.kommo.deal_custom_fields()
            except ApiError:
                return  # all is made and written: the first run reads them itself
            view = replace(view, pipelines=tuple(pipelines), fields=tuple(fields))
        keep_account(self.database.accounts, self.environment.kommo_origin, view)

    async def _remark(self) -> None:
        """Notice what is allowed, and hardly meant."""
        mode = "test" if await self.lemon_squeezy.key_is_test_mode() else "live"
        if mode != self.environment.dealsync_mode:
            self.remarks.append(
                f"The Lemon Squeezy key is a {mode}-mode one, and dealsync is in {self.environment.dealsync_mode} "
                f"mode: no order would touch a deal. Set DEALSYNC_MODE={mode}, or use another key"
            )
        if self.env.is_open_to_others:
            self.remarks.append(f"{self.env.path} can be read by others on this machine: chmod 600 {self.env.path}")

    async def _owners(self, view: AccountView) -> dict[int, str]:
        """The rota by name: as it stands in the file, else as it is picked."""
        names = {user.user_id: user.name for user in view.users if user.is_active}
        rota = self.file.value("owners", "users")
        if isinstance(rota, list):
            ids = [entry.get("id") if isinstance(entry, dict) else entry for entry in rota]
            return {user_id: names[user_id] for user_id in ids if user_id in names}
        chosen = await choose_owners(view.users, self.ask)
        return {user_id: names[user_id] for user_id in chosen}

    async def _receiver(self) -> str:
        """The receiver's address: as asked for, or as a person says. Empty leaves webhooks as they are."""
        if self.wishes.receiver_url:
            return receiver_address(self.wishes.receiver_url)
        if not self.ask.guided or self._known_receiver:
            return self._known_receiver if self.ask.guided else ""
        question = "Where do both accounts reach the receiver (https://deals.example.com)? Empty: I say so later."
        typed = await self.ask.text(question, check=_fault_of_address)
        return receiver_address(typed) if typed else ""

    async def _variant(self) -> None:
        if not self.ask.guided or self.environment.lemon_squeezy_variant_id:
            return
        if picked := await choose_variant(self.lemon_squeezy, self.environment.lemon_squeezy_store_id, self.ask):
            self.env.set(VARIANT, picked)

    async def _webhooks(self, config: Config, previous: str) -> WebhookPlan:
        sent = SentSecrets(self.database.limits.database)
        registrar = Registrar(
            self.lemon_squeezy, self.kommo, self.environment, sent, self.ask, self.wishes.renew_webhooks, previous
        )
        store_ids = sorted({self.environment.lemon_squeezy_store_id, *config.lemon_squeezy.stores})
        return await registrar.plan(store_ids, config.receiver.url)

    async def _ask_leave(self, stages: list[str], fields: int, webhooks: WebhookPlan) -> None:
        """Tell what is about to be made in the accounts. Raises ConfigError if that is not wanted."""
        what = [f"stage {name}" for name in stages]
        what += [f"{fields} LS fields of deals"] * bool(fields)
        what += [f"{webhooks.writes} {'change' if webhooks.writes == 1 else 'changes'} of webhooks"] * bool(
            webhooks.writes
        )
        if what and not await self.ask.confirm(f"To be made: {', '.join(what)}. Go on?", proposed=True):
            raise ConfigError("Stopped before anything was made or written")

    # --- make and write ---------------------------------------------------------------------------------------

    def _fill(self, pipeline_id: int, name: str, stages: dict[str, Stage], users: list[int], receiver: str) -> None:
        named = {key: (stage.status_id, stage.name) for key, stage in stages.items()}
        self.file.name("kommo", {"pipeline": (pipeline_id, name)} | named)
        # Whom Kommo does not show today, it may show to the next token.
        self.file.fill("owners", {"strategy": "round_robin"} | ({"users": users} if not self.unfinished else {}))
        self.file.fill("policy", {"notify_since": utc_now().replace(microsecond=0)})
        if receiver and receiver != self._known_receiver:
            self.file.fill("receiver", {"url": receiver}, overwrite=True)

    async def _make_stages(self, pipeline: Any, stages: list[Stage]) -> tuple[str, ...]:
        try:
            return await make_stages(self.kommo, pipeline, stages)
        except (Unauthorized, Rejected) as error:
            self.unfinished.append(refusal("the missing stages", error))
            return ()

    async def _make_fields(self, ids: dict[str, int | None]) -> tuple[str, ...]:
        try:
            made, found = await make_fields(self.kommo, ids)
        except (Unauthorized, Rejected) as error:
            self.unfinished.append(refusal("the LS fields", error))
            made, found = (), {key: field_id for key, field_id in ids.items() if field_id}
        self.file.fill("fields", found, overwrite=True)
        return made

    def _situation(self, config: Config) -> Situation:
        return Situation(
            environment=self.environment,
            has_applied=self.database.runs.latest(APPLYING_JOBS, (DONE,)) is not None,
            receiver=config.receiver.url,
            is_finished=not self.unfinished,
            sells=bool(self.environment.lemon_squeezy_variant_id or VARIANT in self.env.changed),
        )


def _store_name(names: dict[str, str], store_id: str, setting: str) -> str:
    if store_id not in names:
        known = ", ".join(f"{name} ({known_id})" for known_id, name in names.items()) or "none"
        raise ConfigError(f"{setting} = {store_id} is not a store of this key, which sees: {known}")
    return f"{names[store_id]} ({store_id})"


def _fault_of_address(typed: str) -> str:
    if not typed:
        return ""
    try:
        TypeAdapter(Origin).validate_python(receiver_address(typed))
    except ValidationError as error:
        return f"This {words_of(error.errors()[0])}"
    return ""
