"""The journal: what was meant, sent and done, and to which deal each order belongs.

The unique idempotency key is the lock: of two workers that mean the same effect, one gets to send it. An action goes
from state to state by the table of `core.states` and in no other way: each statement names the states that it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from pydantic import TypeAdapter
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, bindparam, func, or_, select, update
from sqlalchemy import false as sql_false

from dealsync.core.models import Link
from dealsync.core.plan import Action, DealChange, Doubt, Kind, Outcome, Plan, Unfinished
from dealsync.core.states import AGAIN, CAME_BACK, IN_DOUBT, STEP_TO, State, Step, sources, target
from dealsync.core.tables import LEDGER_COLUMNS, LINK_COLUMNS
from dealsync.errors import RunInProgress
from dealsync.ledger.entries import is_of_kind
from dealsync.ledger.frames import stored
from dealsync.ledger.links import keep_links
from dealsync.ledger.reviews import decided_since, keep_reviews
from dealsync.ledger.runs import is_held_by, utc_now
from dealsync.ledger.steps import keep_claims, keep_steps
from dealsync.ledger.tables import IS_ALARM, LedgerEntry, LinkRow
from dealsync.ledger.upsert import chunks, insert, table_of

_ACTION = TypeAdapter(Action)
_CHANGE = TypeAdapter(DealChange)


class Journal:
    """Links and the ledger of actions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, plan: Plan, run_id: str, now: datetime, *, since: datetime | None = None) -> tuple[Action, ...]:
        """Write down a plan before anything of it is sent; return the actions this run may send.

        An action whose key another run has sent or done is left out; so is what was planned for an order on which a
        person decided at or after `since`: the plan may not know of it, the next one will.
        """
        with self._engine.begin() as db:
            decided = decided_since(db, since)
            keep_links(db, [link for link in plan.links if link.order_id not in decided], now)
            keep_reviews(db, plan.reviews, plan.scope, now)
            claimed = _claim(db, [a for a in plan.actions if a.order_id not in decided], run_id, now)
        return tuple(action for action in plan.actions if action.key in claimed)

    def mark_sent(
        self,
        lead_ids: Mapping[str, int | None],
        run_id: str,
        now: datetime,
        ways_back: Mapping[str, DealChange] | None = None,
    ) -> None:
        """Remember, before the request, that these actions are on their way, by key, and to which deal.

        `ways_back`: what puts their deals back as they stand now.

        Raises RunInProgress, and marks none, when another run has taken one of them up meanwhile.
        """
        table = table_of(LedgerEntry)
        statement = (
            update(table)
            .where(table.c.idempotency_key == bindparam("key"), table.c.run_id == run_id)
            .where(_can(Step.SEND))
            .values(
                state=target(Step.SEND),
                sent_at=now,
                attempts=table.c.attempts + 1,
                lead_id=func.coalesce(bindparam("deal", type_=BigInteger), table.c.lead_id),
                way_back=bindparam("back", type_=table.c.way_back.type),
            )
        )
        back = {key: _CHANGE.dump_python(change, mode="json") for key, change in (ways_back or {}).items()}
        rows = [{"key": key, "deal": lead_id, "back": back.get(key)} for key, lead_id in lead_ids.items()]
        with self._engine.begin() as db:
            if rows:
                mine = (table.c.run_id == run_id, _can(Step.SEND))
                keep_steps(db, Step.SEND, rows, now, *mine, run_id=run_id)
                db.execute(statement, rows)
            _ensure_ours(db, lead_ids, run_id)

    def close(self, outcomes: Sequence[Outcome], links: Sequence[Link], now: datetime, *, run_id: str) -> None:
        """Record what became of actions, and the links that new deals made, in one transaction.

        A run that has lost its lock can tell of what has happened, not of what has not: others may be at it by now.
        """
        with self._engine.begin() as db:
            for state, step in STEP_TO.items():
                rows = [_closing(outcome) for outcome in outcomes if outcome.state is state]
                if rows:
                    keep_steps(db, step, rows, now, *_may(step, run_id), run_id=run_id)
                    db.execute(_close(step, run_id, now), rows)
            keep_links(db, links, now)

    def states_of(self, lead_ids: Iterable[int]) -> pd.DataFrame:
        """Return the entries about deals themselves whose key must not be planned again."""
        sources = [f"lead:{lead_id}" for lead_id in lead_ids]
        frames = [
            stored(
                self._engine, LedgerEntry, LEDGER_COLUMNS, LedgerEntry.state.not_in(AGAIN), LedgerEntry.source.in_(s)
            )
            for s in chunks(sources)
        ]
        return pd.concat(frames) if frames else stored(self._engine, LedgerEntry, LEDGER_COLUMNS, sql_false())

    def alarms_of_deals(self) -> pd.DataFrame:
        """Return the entries of all alarms that were raised about deals themselves."""
        of_deals = (IS_ALARM, LedgerEntry.source.startswith("lead:"), LedgerEntry.state.not_in(AGAIN))
        return stored(self._engine, LedgerEntry, LEDGER_COLUMNS, *of_deals)

    def refuse(self, key: str, words: str) -> bool:
        """Remember that what was sent was not taken after all; False for a key that was never sent."""
        sent = (LedgerEntry.idempotency_key == key, LedgerEntry.sent_at.is_not(None))
        with self._engine.begin() as db:
            keep_steps(db, CAME_BACK, [{"key": key, "words": words}], utc_now(), *sent)
            return bool(db.execute(update(LedgerEntry).where(*sent).values(is_refused=True, error=words)).rowcount)

    def given_up(self, kind: Kind) -> list[Action]:
        """Return the actions of a kind that a person has dismissed."""
        query = select(LedgerEntry.action, LedgerEntry.lead_id)
        query = query.where(LedgerEntry.state == State.DISMISSED.value, LedgerEntry.kind == kind.value)
        with self._engine.connect() as db:
            return [_ACTION.validate_python({**row.action, "lead_id": row.lead_id}) for row in db.execute(query)]

    def doubts(self) -> list[Doubt]:
        """Return the actions that were sent and whose answer is not known, oldest first."""
        query = (
            select(LedgerEntry.action, LedgerEntry.lead_id, LedgerEntry.sent_at)
            .where(LedgerEntry.state.in_(IN_DOUBT))
            .order_by(LedgerEntry.sent_at, LedgerEntry.idempotency_key)
        )
        with self._engine.connect() as db:
            return [
                Doubt(_ACTION.validate_python({**row.action, "lead_id": row.lead_id}), row.sent_at)
                for row in db.execute(query)
            ]

    def unfinished(self) -> Unfinished:
        """Return what earlier runs meant and did not do, and how many deals each rota has given out."""
        query = (
            select(LedgerEntry.action, LedgerEntry.lead_id)
            .where(LedgerEntry.state.in_(AGAIN))
            .order_by(LedgerEntry.idempotency_key)
        )
        rota = func.coalesce(LedgerEntry.action["change"]["rota"].as_string(), "").label("rota")
        given = select(rota, func.count().label("deals")).where(is_of_kind(Kind.CREATE_DEAL)).group_by("rota")
        with self._engine.connect() as db:
            rows = db.execute(query).all()
            positions = {row.rota: row.deals for row in db.execute(given)}
        actions = tuple(_ACTION.validate_python({**row.action, "lead_id": row.lead_id}) for row in rows)
        return Unfinished(actions, positions)

    def result_ids(self, keys: Iterable[str]) -> dict[str, int]:
        """Return what applied actions made, by key."""
        found: dict[str, int] = {}
        with self._engine.connect() as db:
            for chunk in chunks(keys):
                rows = db.execute(
                    select(LedgerEntry.idempotency_key, LedgerEntry.result_id).where(
                        LedgerEntry.idempotency_key.in_(chunk), LedgerEntry.result_id.is_not(None)
                    )
                )
                found |= {row.idempotency_key: row.result_id for row in rows}
        return found

    def links(self) -> pd.DataFrame:
        """Return which deal each order belongs to."""
        return stored(self._engine, LinkRow, LINK_COLUMNS)

    def entries(self) -> pd.DataFrame:
        """Return the ledger entries whose key must not be planned again."""
        return stored(self._engine, LedgerEntry, LEDGER_COLUMNS, LedgerEntry.state.not_in(AGAIN))


def _ensure_ours(db: Connection, keys: Collection[str], run_id: str) -> None:
    """Raise RunInProgress unless all these actions are sent, and by this run."""
    ours = (LedgerEntry.run_id == run_id, LedgerEntry.state == target(Step.SEND))
    count = sum(
        db.scalar(select(func.count()).where(LedgerEntry.idempotency_key.in_(chunk), *ours)) or 0
        for chunk in chunks(keys)
    )
    if count < len(keys):
        raise RunInProgress(f"Another run has taken up what run {run_id} was about to send; it sends nothing more")


def _can(step: Step) -> ColumnElement[bool]:
    """The states in which a step can be taken; spelt out, because a list cannot be in a statement for many rows."""
    return or_(*(LedgerEntry.state == state for state in sources(step)))


def _close(step: Step, run_id: str, now: datetime) -> Any:
    table = table_of(LedgerEntry)
    return (
        update(table)
        .where(table.c.idempotency_key == bindparam("key"), *_may(step, run_id))
        .values(
            state=target(step),
            lead_id=func.coalesce(bindparam("deal", type_=BigInteger), table.c.lead_id),
            result_id=func.coalesce(bindparam("made", type_=BigInteger), table.c.result_id),
            error=bindparam("words"),
            is_refused=bindparam("refused"),
            closed_at=now,
        )
    )


def _may(step: Step, run_id: str) -> tuple[ColumnElement[bool], ...]:
    """When an outcome counts: of what has not happened, only the run that holds the lock can tell."""
    return (_can(step),) if step is Step.CONFIRM else (_can(step), is_held_by(run_id))


def _closing(outcome: Outcome) -> dict[str, Any]:
    return {
        "key": outcome.key,
        "deal": outcome.lead_id,
        "made": outcome.result_id,
        "words": outcome.error,
        "refused": outcome.is_refused,
        "by_reading": outcome.by_reading,
    }


def _claim(db: Connection, actions: Sequence[Action], run_id: str, now: datetime) -> frozenset[str]:
    table = table_of(LedgerEntry)
    statement = insert(db, table)
    fresh = {c: statement.excluded[c] for c in ("action", "run_id", "planned_at", "lead_id", "state", "alarm")}
    # The states are spelt out, because a list cannot be in a statement for many rows.
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.idempotency_key], set_=fresh, where=or_(*(table.c.state == s for s in sorted(AGAIN)))
    ).returning(table.c.idempotency_key)
    claimed: set[str] = set()
    for chunk in chunks(actions):
        taken = set(db.scalars(statement, [_entry(action, run_id, now) for action in chunk]))
        keep_claims(db, [action for action in chunk if action.key in taken], run_id, now)
        claimed |= taken
    return frozenset(claimed)


def _entry(action: Action, run_id: str, now: datetime) -> dict[str, Any]:
    return {
        "idempotency_key": action.key,
        "kind": action.kind.value,
        "source": action.source,
        "order_id": action.order_id,
        "alarm": action.alarm,
        "lead_id": action.lead_id,
        "state": target(Step.CLAIM),
        "action": _ACTION.dump_python(action, mode="json"),
        "run_id": run_id,
        "attempts": 0,
        "planned_at": now,
    }
