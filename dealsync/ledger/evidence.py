"""The evidence store: verified webhooks, claims, checkouts and merges, given back as frames for matching."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Engine, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.core.evidence import LEAD_ID_KEY, Claim, Event, HintKind, IssuedCheckout
from dealsync.core.tables import CHECKOUT_COLUMNS, COMPANY_COLUMNS, CUSTOMER_COLUMNS, HINT_COLUMNS, MERGE_COLUMNS
from dealsync.ledger.frames import frame
from dealsync.ledger.tables import CheckoutRow, ClaimRow, CompanyRow, CustomerRow, EventRow, MergeRow
from dealsync.ledger.upsert import chunks, insert, table_of


class Evidence:
    """Keeps what was told, and never forgets by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep_event(self, event: Event, body: bytes, now: datetime) -> bool:
        """Store a verified webhook with its raw body; False when it was stored before."""
        row = {name: getattr(event, name) for name in Event.__slots__}
        row |= {"custom": dict(event.custom), "body": body, "received_at": now}
        with self._engine.begin() as db:
            statement = insert(db, EventRow).values(row).on_conflict_do_nothing(index_elements=[EventRow.event_id])
            return bool(db.execute(statement).rowcount)

    def keep_claim(self, claim: Claim, now: datetime) -> bool:
        """Store a claim; False when its link was used before, whatever order it names now."""
        row = {name: getattr(claim, name) for name in Claim.__slots__} | {"claimed_at": now}
        with self._engine.begin() as db:
            statement = insert(db, ClaimRow).values(row).on_conflict_do_nothing(index_elements=[ClaimRow.nonce])
            return bool(db.execute(statement).rowcount)

    def keep_checkouts(self, checkouts: Iterable[IssuedCheckout]) -> None:
        """Store checkouts as seen now."""
        rows = ({name: getattr(c, name) for name in IssuedCheckout.__slots__} for c in checkouts)
        self._keep(CheckoutRow, [row | {"custom": dict(row["custom"])} for row in rows])

    def keep_merges(self, merges: Mapping[int, int | None]) -> None:
        """Store which deal took in which, by the id of the one that is gone; None if none is known to have."""
        self._keep(MergeRow, [{"gone_id": g, "lead_id": s} for g, s in merges.items()])

    def keep_countries(self, countries: Mapping[str, str], now: datetime) -> None:
        """Store customers' countries (ISO alpha-2, empty if not told) by customer id."""
        self._keep(CustomerRow, [{"customer_id": i, "country": c, "updated_at": now} for i, c in countries.items()])

    def keep_companies(self, companies: Mapping[str, int | None], now: datetime) -> None:
        """Store companies' ids by normalised name; None for one that was looked for in vain."""
        self._keep(CompanyRow, [{"name": n, "company_id": i, "updated_at": now} for n, i in companies.items()])

    def hints(self) -> pd.DataFrame:
        """Return a row per webhook about an order or subscription, and per claim; `custom` is JSON, ids are texts."""
        events, claims = table_of(EventRow).c, table_of(ClaimRow).c
        told = select(
            events.event_id, events.event_name, events.order_id, events.subscription_id, events.custom,
            events.received_at,
        ).where(events.order_id.is_not(None) | events.subscription_id.is_not(None))  # fmt: skip
        with self._engine.connect() as db:
            rows = [_told(row) for row in db.execute(told.order_by(events.event_id))]
            rows += [_claimed(row) for row in db.execute(select(*claims).order_by(claims.nonce))]
        columns = dict(zip(HINT_COLUMNS, zip(*rows, strict=True) if rows else [()] * len(HINT_COLUMNS), strict=True))
        return pd.DataFrame({name: _series(name, values) for name, values in columns.items()})

    def checkouts(self) -> pd.DataFrame:
        """Return every checkout that names a deal."""
        return self._frame(CheckoutRow, CHECKOUT_COLUMNS)

    def merges(self) -> pd.DataFrame:
        """Return which deal took in which."""
        return self._frame(MergeRow, MERGE_COLUMNS)

    def customers(self) -> pd.DataFrame:
        """Return the customers that were asked for."""
        return self._frame(CustomerRow, CUSTOMER_COLUMNS)

    def companies(self) -> pd.DataFrame:
        """Return the companies that were looked for."""
        return self._frame(CompanyRow, COMPANY_COLUMNS)

    def _keep(self, model: type[DeclarativeBase], rows: Iterable[Mapping[str, Any]]) -> None:
        table = table_of(model)
        with self._engine.begin() as db:
            for chunk in chunks(rows):
                statement = insert(db, table).values(chunk)
                fresh = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
                db.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=fresh))

    def _frame(self, model: type[DeclarativeBase], columns: Sequence[str]) -> pd.DataFrame:
        table = table_of(model)
        with self._engine.connect() as db:
            query = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
            return frame(table, columns, db.execute(query).all())


def _told(row: Any) -> tuple[Any, ...]:
    """A webhook as a hint, in the order of HINT_COLUMNS."""
    custom = {str(key): str(value) for key, value in row.custom.items()}
    told = f"webhook {row.event_name} of {row.received_at:%Y-%m-%d %H:%M} UTC"
    ids = (row.order_id, row.subscription_id, custom.get(LEAD_ID_KEY))
    return (told, HintKind.EXPLICIT.value, *ids, json.dumps(custom, sort_keys=True), "", "", None, row.received_at)


def _claimed(row: Any) -> tuple[Any, ...]:
    told = f"visit to the claim link on {row.claimed_at:%Y-%m-%d %H:%M} UTC"
    ids = (row.order_id, None, str(row.lead_id))
    return (
        told, HintKind.CLAIM.value, *ids, "{}", row.order_identifier, row.variant_id, row.issued_at, row.claimed_at,
    )  # fmt: skip


def _series(name: str, values: Sequence[Any]) -> pd.Series:
    if name.endswith("_at"):
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True))
    return pd.Series(values, dtype="str")
