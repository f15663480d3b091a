"""DS210 to DS217: what the configuration names is in the account, and as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dealsync.account import (
    find_checkout,
    find_custom_fields,
    find_fields,
    find_funnels,
    find_owners,
    find_products,
)
from dealsync.apis.kommo.normalise import CustomField
from dealsync.checks.context import Context
from dealsync.checks.verdicts import Check, failed, ok, warning
from dealsync.core.checkup import Verdict
from dealsync.core.mapping import FIELDS
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID

ALSO_HOLDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"textarea"}),
    "url": frozenset({"text", "textarea"}),
}
"""Types of fields that hold the same as the one that `init` makes."""


async def stages(context: Context) -> Verdict:
    """Look up pipelines and stages by their names."""
    watched = find_funnels(await context.pipelines(), context.settings.config)
    return ok(", ".join(f"{pipeline.name} ({funnel.pipeline_id})" for funnel, pipeline in watched))


async def roles(context: Context) -> Verdict:
    """Look whether the stages can play their parts."""
    faults = []
    for funnel, pipeline in find_funnels(await context.pipelines(), context.settings.config):
        both = {funnel.invoice_status_id, funnel.attention_status_id}
        if len(both) == 1:
            faults.append(f"{pipeline.name}: both are stage {funnel.invoice_status_id}")
        elif closed := both & {WON_STATUS_ID, LOST_STATUS_ID}:
            faults.append(f"{pipeline.name}: stage {', '.join(map(str, sorted(closed)))} is a closed one")
    return failed("; ".join(faults)) if faults else ok("two different open ones")


async def ls_fields(context: Context) -> Verdict:
    """Look up the LS fields by id or name."""
    return ok(f"all {len(find_fields(await context.fields(), context.settings.config))}")


async def types(context: Context) -> Verdict:
    """Compare the types of the LS fields with those that `init` makes."""
    wanted = {field.key: field.field_type for field in FIELDS}
    faults = [
        f"{field.name} ({field.field_id}) is of type {field.field_type}, not {wanted[key]}"
        for key, field in await _ls_fields(context)
        if field.field_type != wanted[key] and field.field_type not in ALSO_HOLDS.get(wanted[key], frozenset())
    ]
    return failed("; ".join(faults)) if faults else ok("as init makes them")


async def open_to_people(context: Context) -> Verdict:
    """Look which LS fields only the API may change."""
    locked = [f"{field.name} ({field.field_id})" for _, field in await _ls_fields(context) if field.is_api_only]
    return failed(f"only the API may change {', '.join(locked)}") if locked else ok("they can")


async def other_fields(context: Context) -> Verdict:
    """Look up whatever else the configuration names."""
    settings, fields, pipelines = context.settings, await context.fields(), await context.pipelines()
    watched, ids = [pipeline for _, pipeline in find_funnels(pipelines, settings.config)], context.store_ids
    field_ids = find_fields(fields, settings.config)
    custom = find_custom_fields(fields, settings.config, field_ids)
    checkout = find_checkout(fields, watched, settings, ids, field_ids)
    find_products(watched, settings.config, ids)
    return ok(f"{len({f.field_id for f in custom.values()} | set(checkout.field_ids))} are named")


async def owners(context: Context) -> Verdict:
    """Look up the users who take deals."""
    section, users = context.settings.config.owners, await context.users()
    found = find_owners(users, context.settings.config)  # raises for those that Kommo does not know
    rotas = [section.users, *section.zones.values()]
    named = {entry.id for rota in rotas for entry in rota} | ({section.default} - {None})
    off = sorted(user.user_id for user in users if user.user_id in named and not user.is_active)
    if not off:
        return ok(f"{len(named)} of {len(named)}")
    words = f"switched off: {', '.join(map(str, off))}"
    nobody_left = not found.users and not found.zones and found.default is None
    return failed(f"{words}; nobody is left") if nobody_left else warning(f"{words}; the others take the deals")


async def filters(context: Context) -> Verdict:
    """Ask for deals that cannot be there."""
    if await context.kommo.honours_filters(context.clock()):
        return ok("they are")
    return warning("asked for deals of tomorrow, it sent others")


async def _ls_fields(context: Context) -> Iterator[tuple[str, CustomField]]:
    fields = await context.fields()
    by_id = {field.field_id: field for field in fields}
    return ((key, by_id[field_id]) for key, field_id in find_fields(fields, context.settings.config).items())


CHECKS: dict[str, Check] = {
    "DS210": stages,
    "DS211": roles,
    "DS212": ls_fields,
    "DS213": types,
    "DS214": open_to_people,
    "DS215": other_fields,
    "DS216": owners,
    "DS217": filters,
}
