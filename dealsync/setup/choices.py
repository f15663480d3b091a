"""What is picked among what both accounts have: pipeline, stages, owners, the product of checkouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from dealsync.account import find_pipeline, find_status
from dealsync.apis.kommo.client import PAGE, Kommo
from dealsync.apis.kommo.normalise import Pipeline, Status, User
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.config import NameOrId
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID
from dealsync.errors import ConfigError
from dealsync.setup.questions import Option, Questions

USUAL = {"invoice_status": "Invoice sent", "attention_status": "Needs attention"}
ROLES = {"invoice_status": "waits for payment", "attention_status": "needs a person's attention"}
NEW = "new"

Deals = Mapping[tuple[int, int], int] | None
"""Deals by pipeline and stage; None where counting them would take many requests."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage for a role: one that is there, or one to be made."""

    name: str
    status_id: int = 0  # 0: to be made

    @property
    def is_new(self) -> bool:
        """Whether it is to be made."""
        return not self.status_id


async def count_deals(kommo: Kommo) -> Deals:
    """Count the deals of each stage, if one request tells them all."""
    async with aclosing(kommo.deals({})) as pages:  # type: ignore[type-var]
        async for page in pages:
            found = Counter((deal.pipeline_id, deal.status_id) for deal in page)
            return found if len(page) < PAGE else None
    return {}


async def choose_pipeline(
    pipelines: Sequence[Pipeline], wanted: NameOrId | None, deals: Deals, ask: Questions
) -> Pipeline:
    """Return the pipeline that is named, else the one that is picked; the main one is proposed. Raises ConfigError."""
    if not pipelines:
        raise ConfigError("Kommo shows no pipeline to this token: make one in Kommo, or use an admin's token")
    if wanted is None:
        options = [Option(f"{p.name}  {_stages(p, deals)}", p.pipeline_id) for p in pipelines]
        wanted = int(await ask.choose("Which pipeline?", options, pipelines[0].pipeline_id))
    return find_pipeline(pipelines, wanted)


async def choose_stage(
    pipeline: Pipeline, key: str, wanted: NameOrId | None, deals: Deals, ask: Questions, *, create: bool
) -> Stage:
    """Return the stage for a role: as asked or configured, else as picked, else by its usual name.

    One that is not there is made if a person says so, or with `create`; else ConfigError tells the way out.
    """
    name = USUAL[key] if wanted is None else wanted
    try:
        found = find_status(pipeline, name, f"kommo.{key}")
    except ConfigError as error:
        if ask.guided:
            return await _pick(pipeline, key, name, None, deals, ask)
        if create and isinstance(name, str):
            return Stage(name)
        option = f"--{key.replace('_', '-')}"
        raise ConfigError(
            f"Pipeline {pipeline.name} has no status for {key} (looked for {name!r}). It has: "
            f"{', '.join(status.name for status in _open(pipeline))}. Name one with {option}, add one in Kommo, or let "
            "--create-stages make it"
        ) from error
    if ask.guided and wanted is None:
        return await _pick(pipeline, key, name, found, deals, ask)
    return Stage(found.name, found.status_id)


async def _pick(
    pipeline: Pipeline, key: str, name: NameOrId, usual: Status | None, deals: Deals, ask: Questions
) -> Stage:
    there = {status.status_id: status for status in _open(pipeline)}
    options = [Option(f"{s.name}{_counted(deals, pipeline, s.status_id)}", s.status_id) for s in there.values()]
    if usual is None:
        made = name if isinstance(name, str) else USUAL[key]
        options.insert(0, Option(f"Make a new stage: {made}", made))
    picked = await ask.choose(
        f"Which stage has a deal that {ROLES[key]}?", options, options[0].value if not usual else usual.status_id
    )
    return Stage(picked) if isinstance(picked, str) else Stage(there[picked].name, picked)


def body_of(stage: Stage, pipeline: Pipeline, number: int) -> dict[str, str | int]:
    """Return what makes a stage: at the end of the funnel, before won and lost."""
    last = max((status.sort for status in _open(pipeline)), default=10)
    return {"name": stage.name, "sort": last + 10 * number}


async def choose_owners(users: Sequence[User], ask: Questions) -> list[int]:
    """Return the ids of those who get self-serve deals in turn, of the active users."""
    active = [Option(user.name, user.user_id) for user in users if user.is_active]
    if not active:
        return []
    return await ask.choose_several("Who gets the deals of clients who pay by themselves, in turn?", active)


async def choose_variant(client: LemonSqueezy, store_id: str, ask: Questions) -> str:
    """Return the variant that checkouts sell unless a rule says otherwise; empty if nobody picks one."""
    products = [p for p in await client.products(store_id) if p.product_status == "published"]
    if not products:
        ask.tell("The store has no published product yet: checkout links need one.")
        return ""
    options = [Option(product.name, product.id) for product in products]
    # A wrong product sells by mistake, so one is proposed only where there is no other.
    proposed = products[0].id if len(products) == 1 else ""
    product_id = await ask.choose("What do checkout links sell?", [*options, Option("I say so later", "")], proposed)
    variants = [v for v in await client.variants(product_id) if v.variant_status != "draft"] if product_id else []
    if len(variants) < 2:
        return variants[0].id if variants else ""
    return str(await ask.choose("Which variant of it?", [Option(v.name, v.id) for v in variants], variants[0].id))


def _open(pipeline: Pipeline) -> list[Status]:
    closed = (WON_STATUS_ID, LOST_STATUS_ID)
    return [status for status in pipeline.statuses if status.accepts_deals and status.status_id not in closed]


def _stages(pipeline: Pipeline, deals: Deals) -> str:
    names = ", ".join(status.name for status in _open(pipeline))
    if deals is None:
        return f"({names})"
    count = sum(number for (pipeline_id, _), number in deals.items() if pipeline_id == pipeline.pipeline_id)
    return f"({_in_words(count)}; {names})"


def _counted(deals: Deals, pipeline: Pipeline, status_id: int) -> str:
    return "" if deals is None else f"  ({_in_words(deals.get((pipeline.pipeline_id, status_id), 0))})"


def _in_words(count: int) -> str:
    return f"{count} deal{'s' * (count != 1)}"
