"""Facts for the figures of a month, made by hypothesis: a few objects, each with a past."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from dealsync.core.figures import BY_POLL, BY_WEBHOOK, Facts, Finding, Win
from dealsync.core.history import History, Version
from dealsync.core.month import Month

ZONE = "Europe/Berlin"
LATER = datetime(2026, 12, 20, 9, tzinfo=UTC)
OCTOBER = Month(2026, 10, ZONE, LATER)
Key = TypeVar("Key")

FIRST = datetime(2026, 9, 10, tzinfo=UTC)
moments = st.integers(0, 90 * 24).map(lambda hours: FIRST + timedelta(hours=hours))
maybe_moments = st.one_of(st.none(), moments)


@st.composite
def histories(draw: st.DrawFn, versions: st.SearchStrategy[dict[str, Any]], fixed: Mapping[str, Any]) -> History:
    """An object with up to four versions, the first since its creation."""
    created_at = fixed.get("created_at", FIRST - timedelta(days=1))
    times = sorted(draw(st.lists(moments, unique=True, min_size=1, max_size=3)))
    since: list[datetime | None] = [None, *(at for at in times if at > created_at)]
    return History(tuple(Version(at, {**fixed, **draw(versions)}) for at in since))


def money_versions(status: str, statuses: list[str], total: int, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {status: st.sampled_from(statuses), "refunded_minor": st.integers(0, total), "refunded_at": st.none(), **more}
    )


names = st.sampled_from(["Pro", "Team", "=cmd()", "<script>alert(1)</script>", "Ümläut & Söhne"])


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Three orders in two currencies, a subscription with invoices, deals that change hands, findings, wins."""
    orders, invoices, subscriptions = {}, {}, {}
    for number in (17, 18, 19):
        total = draw(st.integers(0, 3)) * 1000
        fixed = {"created_at": draw(moments), "number": number, "total_minor": total,
                 "currency": draw(st.sampled_from(["USD", "EUR", "JPY"]))}  # fmt: skip
        versions = money_versions(
            "order_status", ["paid", "refunded", "partial_refund", "fraudulent", "pending"], total,
            product_name=names, variant_name=st.just("Default"),
        )  # fmt: skip
        orders[str(number)] = draw(histories(versions, fixed))
    begun = orders["17"].first["created_at"]
    subscription = st.fixed_dictionaries(
        {
            "subscription_status": st.sampled_from(["active", "past_due", "cancelled", "expired", "on_trial"]),
            "is_cancelled": st.booleans(), "renews_at": maybe_moments, "ends_at": maybe_moments,
            "product_name": names, "variant_name": st.just("Default"),
        }
    )  # fmt: skip
    subscriptions["9"] = draw(histories(subscription, {"order_id": "17", "created_at": begun}))
    for number in (44, 45, 46):
        total = draw(st.integers(1, 3)) * 1000
        fixed = {
            "created_at": begun + timedelta(hours=draw(st.integers(0, 90 * 24))), "subscription_id": "9",
            "total_minor": total, "currency": "USD", "billing_reason": draw(st.sampled_from(["initial", "renewal"])),
        }  # fmt: skip
        versions = money_versions("invoice_status", ["paid", "refunded", "pending", "void"], total)
        invoices[str(number)] = draw(histories(versions, fixed))
    owner = st.fixed_dictionaries({"responsible_user_id": st.sampled_from([None, 501, 502])})
    began_at = draw(st.sampled_from([FIRST, FIRST, FIRST + timedelta(days=60)]))
    return Facts(
        orders=orders,
        invoices=invoices,
        subscriptions=subscriptions,
        deals={lead_id: draw(histories(owner, {})) for lead_id in (31, 32)},
        links=draw(st.dictionaries(st.sampled_from(["17", "18"]), _links())),
        reviews=draw(st.dictionaries(st.sampled_from(["18", "19"]), _reviews())),
        users={501: draw(histories(st.fixed_dictionaries({"name": names}), {}))},
        findings=tuple(draw(st.lists(_findings(), max_size=4))),
        wins=tuple(draw(st.lists(_wins(orders, began_at), max_size=3))),
        drifts=tuple(draw(st.lists(st.tuples(moments, st.just({"stuck": 1})), max_size=3))),
        began_at=began_at,
    )


@st.composite
def _links(draw: st.DrawFn) -> History:
    """Replaced when the next one was made."""
    times = sorted(draw(st.lists(moments, min_size=1, max_size=3, unique=True)))
    deals = [(at, {"lead_id": draw(st.sampled_from([31, 32])), "tier": "field", "linked_at": at}) for at in times]
    return History(tuple(Version(at if place else None, deal) for place, (at, deal) in enumerate(deals)))


@st.composite
def _reviews(draw: st.DrawFn) -> History:
    first = draw(moments)
    return History((Version(None, {"first_seen_at": first, "closed_at": draw(st.none() | moments)}),))


@st.composite
def _findings(draw: st.DrawFn) -> Finding:
    first, kind = draw(moments), draw(st.sampled_from(["stuck", "won_never_paid"]))
    ended = draw(st.none() | st.integers(1, 900).map(lambda hours: first + timedelta(hours=hours)))
    lead_id = draw(st.sampled_from([31, 32]))
    return Finding(kind, f"lead:{lead_id}", lead_id, first - timedelta(days=2), first, ended)


@st.composite
def _wins(draw: st.DrawFn, orders: Mapping[str, History], began_at: datetime) -> Win:
    """No deal is won before its payment, nor before dealsync was there."""
    order_id = draw(st.sampled_from(["17", "18"]))
    at = max(began_at, orders[order_id].first["created_at"]) + timedelta(hours=draw(st.integers(0, 90 * 24)))
    return Win(f"order:{order_id}", order_id, 31, at, draw(st.sampled_from([BY_POLL, BY_WEBHOOK])))


def known_at(everything: Facts, at: datetime) -> Facts:
    """Return what a database held right before a time of what it holds later."""

    def known(found: Mapping[Key, History], is_there: Callable[[Mapping[str, Any]], bool]) -> dict[Key, History]:
        cut = {
            key: History(tuple(v for v in one.versions if v.since is None or v.since < at))
            for key, one in found.items()
        }
        return {key: one for key, one in cut.items() if is_there(one.first)}

    def made(values: Mapping[str, Any]) -> bool:
        return bool(values["created_at"] < at)

    reviews = {
        key: History((Version(None, {**v, "closed_at": v["closed_at"] if (v["closed_at"] or at) < at else None}),))
        for key, one in everything.reviews.items()
        if (v := one.first)["first_seen_at"] < at
    }
    findings = [
        replace(one, ended_at=one.ended_at if (one.ended_at or at) < at else None)
        for one in everything.findings
        if one.first_seen_at < at
    ]
    return Facts(
        orders=known(everything.orders, made),
        invoices=known(everything.invoices, made),
        subscriptions=known(everything.subscriptions, made),
        deals=known(everything.deals, lambda _: True),
        links=known(everything.links, lambda values: bool(values["linked_at"] < at)),
        reviews=reviews,
        users=known(everything.users, lambda _: True),
        findings=tuple(findings),
        wins=tuple(win for win in everything.wins if win.at < at),
        drifts=tuple(drift for drift in everything.drifts if drift[0] < at),
        began_at=everything.began_at,
    )
