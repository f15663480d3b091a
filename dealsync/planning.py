"""Mirror and journal -> plan -> journal: the two stages around the pure planner."""

from __future__ import annotations

from dataclasses import replace

from dealsync.core import planner
from dealsync.core.approval import Caution, still_due, weigh
from dealsync.core.drift import since_when
from dealsync.core.focus import Focus
from dealsync.core.plan import Action, Kind, Plan
from dealsync.core.sightings import How
from dealsync.core.tables import Tables
from dealsync.ledger.runs import utc_now
from dealsync.poll import (
    Reach,
    poll_kommo,
    read_companies,
    read_countries,
    read_deals,
    read_entries,
    read_merges,
)
from dealsync.run import Run


async def make_plan(run: Run, focus: Focus | None = None) -> Plan:
    """Return what is to be done, everywhere or about a focus: nothing about none. Changes nothing. Raises Unreachable.

    A list of recent changes lags, so after an incremental poll every deal that the plan would change is read once
    more by id, and what a person did meanwhile is planned for. What else the planner misses is read, too.
    """
    if focus is not None and not focus:
        return Plan()
    run.progress("Comparing")
    if focus is None:
        await _read_entries_asked_for_anyway(run)
    tables = _tables(run)
    plan = _plan(run, tables, focus)
    while await _read_what_is_missing(run, plan):
        tables = _tables(run, tables)
        plan = _plan(run, tables, focus)
    plan = _without_what_was_given_up(run, plan)
    run.first_seen = run.store.findings.keep(plan, utc_now(), whole=focus is None)
    return plan if focus is None else _without_what_needs_a_person(run, plan)


def _without_what_was_given_up(run: Run, plan: Plan) -> Plan:
    """LS fields that a person has given up stay so until the payment says something else of them.

    Their keys tell the times of the payment's objects, so the same values can be due under another key.
    """
    if not any(action.kind is Kind.FIELDS for action in plan.actions):
        return plan
    given_up = still_due(run.store.journal.given_up(Kind.FIELDS), plan.actions)
    keys = {action.key for action in given_up.values()}
    return plan.only(action for action in plan.actions if action.key not in keys)


def _without_what_needs_a_person(run: Run, plan: Plan) -> Plan:
    """A webhook's run cannot wait for an answer: what needs one is left to the next run of `reconcile`, which asks."""
    verdict = weigh(plan, Caution(careful=run.settings.config.approval.careful))
    if verdict.held:
        run.remarks.append(
            f"{len(verdict.held)} changes are left to the next run of reconcile: a person must approve them."
        )
    return plan.only(verdict.free)


def record_intent(run: Run, plan: Plan) -> tuple[Action, ...]:
    """Write the plan down before anything is sent; return the actions that are this run's to send."""
    mine = run.store.journal.record(plan, run.run_id, utc_now(), since=run.started_at)
    # Afterwards: what is remembered as seen is not told again, so the telling must be written down first.
    run.store.mirror.remember(plan.seen)
    return mine


async def _read_what_is_missing(run: Run, plan: Plan) -> bool:
    """Read what the plan rests on and this run has not read; False when there is nothing to read."""
    asked = plan.questions
    stale = ({a.lead_id for a in plan.actions if a.lead_id is not None} | asked.lead_ids) - run.deals_read
    gone = asked.gone_lead_ids - run.merges_sought
    customers = asked.customer_ids - run.customers_read
    companies = asked.company_names - run.companies_sought
    entries = (asked.entered_lead_ids | asked.moved_lead_ids) - run.entries_read
    lists = asked.lists and not run.lists_read
    if lists:
        await poll_kommo(run, Reach())
    if stale:
        await read_deals(run, stale, How.CHECK)
    if gone:
        await read_merges(run, gone)
    if customers:
        await read_countries(run, customers)
    if companies:
        await read_companies(run, companies)
    if entries:
        await read_entries(run, entries)
    return bool(lists or stale or gone or customers or companies or entries)


async def _read_entries_asked_for_anyway(run: Run) -> None:
    """Read what every plan about everything would ask for, so that none is made in vain."""
    policy = run.directory.policy
    waiting = run.store.mirror.deals({status_id for _, status_id in policy.invoice_statuses})
    entries = since_when(waiting, policy, run.started_at) - run.entries_read
    if entries:
        await read_entries(run, entries)


def _tables(run: Run, known: Tables | None = None) -> Tables:
    """Return what a plan is made from; given what a plan of this run was made from, only what it may have read since.

    Between two plans nothing but Kommo, customers and merges is read, and nobody else writes: this run has the lock.
    """
    mirror, journal, evidence = run.store.mirror, run.store.journal, run.store.evidence
    fresh = {
        "deals": mirror.deals(),
        "contact_emails": mirror.contact_emails(),
        "lead_contacts": mirror.lead_contacts(),
        "merges": evidence.merges(),
        "customers": evidence.customers(),
        "companies": evidence.companies(),
    }
    if known is not None:
        return replace(known, **fresh)
    return Tables(
        **fresh,
        orders=mirror.orders(),
        subscriptions=mirror.subscriptions(),
        invoices=mirror.invoices(),
        links=journal.links(),
        ledger=journal.entries(),
        hints=evidence.hints(),
        checkouts=evidence.checkouts(),
        decisions=run.store.reviews.decisions(),
    )


def _plan(run: Run, tables: Tables, focus: Focus | None) -> Plan:
    return planner.make_plan(tables, run.directory.policy, run.started_at, run.store.journal.unfinished(), focus)
