"""Mirror and journal -> plan -> journal: the two stages around the pure planner."""

from __future__ import annotations

from dealsync.core import planner
from dealsync.core.plan import Action, Plan
from dealsync.core.tables import Tables
from dealsync.ledger.runs import utc_now
from dealsync.run import Run


def make_plan(run: Run) -> Plan:
    """Return what is to be done, from what is stored. Changes nothing."""
    run.progress("Comparing")
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


def record_intent(run: Run, plan: Plan) -> tuple[Action, ...]:
    """Write the plan down before anything is sent; return the actions that are this run's to send."""
    return run.store.journal.record(plan, run.run_id, utc_now())
