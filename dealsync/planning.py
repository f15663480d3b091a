"""Mirror and journal -> plan -> journal: the two stages around the pure planner."""

from __future__ import annotations

from dealsync.core import planner
from dealsync.core.plan import Action, Plan
from dealsync.core.tables import Tables
from dealsync.ledger.runs import utc_now
from dealsync.poll import read_deals
from dealsync.run import Run


async def make_plan(run: Run) -> Plan:
    """Return what is to be done. Changes nothing. Raises Unreachable.

    A list of recent changes lags, so after an incremental poll every deal that the plan would change is read once
    more by id, and what a person did meanwhile is planned for.
    """
    run.progress("Comparing")
    plan = _plan(run)
    while stale := {a.lead_id for a in plan.actions if a.lead_id is not None} - run.deals_read:
        await read_deals(run, stale)
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
