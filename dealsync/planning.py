"""Mirror and journal -> plan -> journal: the two stages around the pure planner."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from dealsync.core import planner
from dealsync.core.plan import Action, Plan
from dealsync.core.tables import Tables
from dealsync.ledger.runs import utc_now
from dealsync.run import Run


async def make_plan(run: Run) -> Plan:
    """Return what is to be done. Changes nothing. Raises Unreachable.

    A list of recent changes lags, so after an incremental poll every deal that the plan would change is read once
    more by id, and what a person did meanwhile is planned for.
    """
    run.progress("Comparing")
    plan, fresh = _plan(run), run.deals_read
    while stale := {a.lead_id for a in plan.actions if a.lead_id is not None} - fresh:
        await _read_again(run, stale)
        fresh |= stale
        plan = _plan(run)
    return plan


def record_intent(run: Run, plan: Plan) -> tuple[Action, ...]:
    """Write the plan down before anything is sent; return the actions that are this run's to send."""
    run.store.mirror.remember(plan.seen)
    return run.store.journal.record(plan, run.run_id, utc_now())


def _plan(run: Run) -> Plan:
    mirror, journal = run.store.mirror, run.store.journal
    tables = Tables(
        orders=mirror.orders(),
        subscriptions=mirror.subscriptions(),
        deals=mirror.deals(),
        contact_emails=mirror.contact_emails(),
        lead_contacts=mirror.lead_contacts(),
        links=journal.links(),
        ledger=journal.entries(),
    )
    return planner.make_plan(tables, run.directory.policy, run.started_at, journal.unfinished())


async def _read_again(run: Run, lead_ids: AbstractSet[int]) -> None:
    deals = await run.kommo.deals_by_id(lead_ids, run.directory.field_keys)
    run.store.mirror.keep_deals(list(deals.values()))
    run.store.mirror.mark_deals_deleted(lead_ids - deals.keys())
