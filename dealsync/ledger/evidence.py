"""The evidence store: claims, checkouts and merges; given back, with what webhooks told, as frames for matching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Column, ColumnElement, Engine, Text, cast, func, literal_column, null, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.core.assumptions import KOMMO_LIST_OVERLAP
from dealsync.core.evidence import Claim, HintKind, IssuedCheckout
from dealsync.core.tables import CHECKOUT_COLUMNS, COMPANY_COLUMNS, CUSTOMER_COLUMNS, HINT_COLUMNS, MERGE_COLUMNS
from dealsync.ledger.frames import frame, stored
from dealsync.ledger.tables import CheckoutRow, ClaimRow, CompanyRow, CustomerRow, EventRow, MergeRow, UtcTime
from dealsync.ledger.upsert import chunks, insert, table_of

MOST_CLAIMS = 10
"""Orders that one claim link may name: a buyer can come back for each, but nobody can fill the table."""


class Evidence:
    """Keeps what was told, and never forgets by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep_claim(self, claim: Claim, now: datetime) -> bool:
        """Store a claim; False when its link named this order before, or was used for too many."""
        row = {name: getattr(claim, name) for name in Claim.__slots__} | {"claimed_at": now}
        with self._engine.begin() as db:
            used = db.scalar(select(func.count()).where(ClaimRow.nonce == claim.nonce)) or 0
            if used >= MOST_CLAIMS:
                return False
            keys = [ClaimRow.nonce, ClaimRow.order_id, ClaimRow.order_identifier]
            return bool(
                db.execute(insert(db, ClaimRow).values(row).on_conflict_do_nothing(index_elements=keys)).rowcount
            )

    def keep_checkouts(self, checkouts: Iterable[IssuedCheckout]) -> None:
        """Store checkouts as seen now."""
        names = (*IssuedCheckout.__slots__, "mark")
        rows = ({name: getattr(c, name) for name in names} for c in checkouts)
        self._keep(CheckoutRow, [row | {"custom": dict(row["custom"])} for row in rows])

    def keep_merges(self, merges: Mapping[int, int | None], now: datetime) -> None:
        """Store which deal took in which, by the id of the one that is gone; None if none is known to have."""
        rows = [{"gone_id": g, "lead_id": s, "first_sought_at": now, "sought_at": now} for g, s in merges.items()]
        self._keep(MergeRow, rows, once={"first_sought_at"})

    def keep_countries(self, countries: Mapping[str, str], now: datetime) -> None:
        """Store customers' countries (ISO alpha-2, empty if not told) by customer id."""
        self._keep(CustomerRow, [{"customer_id": i, "country": c, "updated_at": now} for i, c in countries.items()])

    def keep_companies(self, companies: Mapping[str, int | None], now: datetime) -> None:
        """Store companies' ids by normalised name; None for one that was looked for in vain."""
        self._keep(CompanyRow, [{"name": n, "company_id": i, "updated_at": now} for n, i in companies.items()])

    def company_ids(self, names: AbstractSet[str]) -> dict[str, int | None]:
        """Return what is known of companies by normalised name."""
        with self._engine.connect() as db:
            columns = select(CompanyRow.name, CompanyRow.company_id)
            found = [row for part in chunks(names) for row in db.execute(columns.where(CompanyRow.name.in_(part)))]
        return {row.name: row.company_id for row in found}

    def hints(self) -> pd.DataFrame:
        """Return a row per webhook about an order or subscription, and per claim; `custom` is JSON, ids are texts."""
        events, claims = table_of(EventRow).c, table_of(ClaimRow).c
        speaks = events.order_id.is_not(None) | events.subscription_id.is_not(None)
        none: ColumnElement[str] = literal_column("''")
        told = select(
            literal_column(f"'{HintKind.EXPLICIT}'"), events.event_name, events.order_id, events.subscription_id,
            events.lead_text, cast(events.custom, Text), none, none, cast(null(), UtcTime), events.received_at,
        ).where(speaks)  # fmt: skip
        claimed = select(
            literal_column(f"'{HintKind.CLAIM}'"), none, claims.order_id, cast(null(), Text),
            cast(claims.lead_id, Text), literal_column("'{}'"), claims.order_identifier, claims.variant_id,
            claims.issued_at, claims.claimed_at,
        )  # fmt: skip
        columns: list[Column[Any]] = [Column(n, UtcTime() if n.endswith("_at") else Text()) for n in HINT_COLUMNS]
        with self._engine.connect() as db:
            return frame(db, columns, told.order_by(events.event_id), claimed.order_by(claims.nonce))

    def checkouts(self) -> pd.DataFrame:
        """Return every checkout that names a deal."""
        return stored(self._engine, CheckoutRow, CHECKOUT_COLUMNS)

    def merges(self) -> pd.DataFrame:
        """Return which deal took in which. What was looked for in vain is settled once events cannot lag any more."""
        columns = ["gone_id", "lead_id", "first_sought_at", "sought_at"]
        found = stored(self._engine, MergeRow, columns)
        late = found["sought_at"] - found["first_sought_at"] >= KOMMO_LIST_OVERLAP
        return found.assign(is_settled=found["lead_id"].notna() | late)[MERGE_COLUMNS]

    def customers(self) -> pd.DataFrame:
        """Return the customers that were asked for."""
        return stored(self._engine, CustomerRow, CUSTOMER_COLUMNS)

    def companies(self) -> pd.DataFrame:
        """Return the companies that were looked for."""
        return stored(self._engine, CompanyRow, COMPANY_COLUMNS)

    def _keep(
        self, model: type[DeclarativeBase], rows: Iterable[Mapping[str, Any]], once: AbstractSet[str] = frozenset()
    ) -> None:
        """Insert or update; columns named in `once` keep what they had."""
        table = table_of(model)
        key = list(table.primary_key.columns)
        unique = {tuple(row[c.name] for c in key): row for row in rows}
        with self._engine.begin() as db:
            for chunk in chunks(unique.values()):
                statement = insert(db, table)
                fresh = [c.name for c in table.columns if not c.primary_key and c.name not in once]
                changed = {name: statement.excluded[name] for name in fresh}
                db.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), chunk)
