"""What people were asked to approve, and what they answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, exists, select, update

from dealsync.core.approval import Answer
from dealsync.core.plan import Kind
from dealsync.core.states import State
from dealsync.ledger.tables import ApprovalRow, LedgerEntry
from dealsync.ledger.upsert import insert, table_of


@dataclass(frozen=True, slots=True)
class Approval:
    """A question, and its answer once there is one. `run_id` is the run that asked."""

    run_id: str
    asked_at: datetime
    answer_by: datetime
    reasons: tuple[str, ...]
    actions: Mapping[str, int]  # how many of each kind
    answer: Answer | None = None
    kinds: tuple[str, ...] = ()
    answered_by: str | None = None
    words: str | None = None
    answered_at: datetime | None = None
    applied_by_run: str | None = None


class Approvals:
    """Questions and answers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, approval: Approval) -> None:
        """Write down that a person is asked."""
        row = {
            "run_id": approval.run_id,
            "asked_at": approval.asked_at,
            "answer_by": approval.answer_by,
            "reasons": list(approval.reasons),
            "actions": dict(approval.actions),
            "kinds": [],
        }
        with self._engine.begin() as db:
            db.execute(insert(db, ApprovalRow).values(row))

    def answer(
        self, run_id: str, answer: Answer, now: datetime, *, kinds: Iterable[Kind] = (), by: str = "", words: str = ""
    ) -> None:
        """Write down what the answer was, and whose; the first one stands."""
        mine = update(ApprovalRow).where(ApprovalRow.run_id == run_id, ApprovalRow.answer.is_(None))
        named = [kind.value for kind in kinds]
        with self._engine.begin() as db:
            db.execute(
                mine.values(
                    answer=answer.value, kinds=named, answered_by=by or None, words=words or None, answered_at=now
                )
            )

    def carried_out(self, run_id: str, by_run: str) -> None:
        """Write down which run sent what was approved."""
        with self._engine.begin() as db:
            db.execute(update(ApprovalRow).where(ApprovalRow.run_id == run_id).values(applied_by_run=by_run))

    def waiting(self, now: datetime) -> Approval | None:
        """Return the oldest question that can still be answered."""
        query = select(*table_of(ApprovalRow).columns).where(ApprovalRow.answer.is_(None), ApprovalRow.answer_by > now)
        with self._engine.connect() as db:
            row = db.execute(query.order_by(ApprovalRow.asked_at).limit(1)).first()
        return _approval(row._asdict()) if row else None

    def listed(self, *, limit: int | None = None) -> Sequence[Approval]:
        """Return questions, the latest first."""
        query = select(*table_of(ApprovalRow).columns).order_by(ApprovalRow.asked_at.desc()).limit(limit)
        with self._engine.connect() as db:
            return [_approval(row._asdict()) for row in db.execute(query)]

    def at_work_since(self) -> datetime | None:
        """Return when anything was carried out for the first time; None before that."""
        first = select(LedgerEntry.closed_at).where(LedgerEntry.state == State.APPLIED.value)
        with self._engine.connect() as db:
            return db.scalar(first.order_by(LedgerEntry.closed_at).limit(1))

    def kinds_done(self) -> frozenset[Kind]:
        """Return the kinds of actions that were ever carried out."""
        applied = LedgerEntry.state == State.APPLIED.value
        # Each kind is asked for by itself: the first of its actions is the answer, however many there are.
        query = select(*(exists().where(applied, LedgerEntry.kind == kind.value).label(kind.name) for kind in Kind))
        with self._engine.connect() as db:
            found = db.execute(query).one()
        return frozenset(kind for kind, was_done in zip(Kind, found, strict=True) if was_done)


def _approval(row: Mapping[str, Any]) -> Approval:
    answer = None if row["answer"] is None else Answer(row["answer"])
    return Approval(**{**row, "reasons": tuple(row["reasons"]), "kinds": tuple(row["kinds"]), "answer": answer})
