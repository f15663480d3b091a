"""From a webhook to the deal, against both simulated APIs, without Prefect."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from dealsync import apply, doubts, drain, run
from dealsync.apis.lemonsqueezy.webhook import read_event
from dealsync.core import inbox
from dealsync.core.inbox import InboxState
from dealsync.drained import Drained
from dealsync.errors import EventsParked, RunFailed, Unreachable
from dealsync.ledger.inbox import Arrival, Chosen
from dealsync.ledger.runs import utc_now
from dealsync.settings import build_store, load_environment
from tests.accounts import ATTENTION, QUALIFIED, WON, Accounts
from tests.webhooks import Hooks

ANN = {"name": "Ann Example", "email": "ann@example.com"}
DONE, WAITING, PARKED = InboxState.DONE, InboxState.WAITING, InboxState.PARKED


def drained(*event_ids: str) -> Drained:
    return asyncio.run(drain.drain(event_ids=event_ids, progress=lambda _text: None))


def requests_of(done: Drained) -> dict[str, int]:
    assert done.report is not None
    return dict(done.report.requests)


def open_deal(accounts: Accounts, **changes: Any) -> int:
    return int(accounts.control("leads", **{"price": 490, "contact": ANN, **changes})["id"])


def pay_for(accounts: Accounts, lead_id: int | None, **changes: Any) -> str:
    custom = {} if lead_id is None else {"custom_data": {"kommo_lead_id": str(lead_id)}}
    order = accounts.control("orders", **{"email": "someone.else@example.com", "total": 49000, **custom, **changes})
    return str(order["data"]["id"])


def paid_deal(accounts: Accounts, hooks: Hooks) -> tuple[int, str]:
    """An open deal that the mirror knows, and the order that pays it; the webhook of the order has just come in."""
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent()
    order_id = pay_for(accounts, lead_id)
    assert hooks.deliver() == [200]
    return lead_id, order_id


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))


def test_drain__an_empty_inbox_costs_no_request(accounts: Accounts) -> None:
    before = accounts.requests()["counts"]
    assert (drained().headline(), accounts.requests()["counts"]) == ("Nothing waits in the inbox", before)


def test_drain__closes_the_deal_that_a_payment_names_with_four_requests(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, order_id = paid_deal(accounts, hooks)
    done = drained()
    done.raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.fields(lead_id)["LS order id"] == order_id
    assert requests_of(done) == {
        "kommo GET /api/v4/leads": 1,
        "kommo PATCH /api/v4/leads": 1,
        "kommo POST /api/v4/leads/notes": 1,
        "lemon_squeezy GET /v1/orders/{id}": 1,
    }
    assert [(item.state, item.result) for item in hooks.items()] == [(DONE, "3 changes")]
    assert drained().report is None
    assert accounts.run().plan.actions == ()


def test_drain__finds_a_deal_that_was_made_since_the_last_poll(accounts: Accounts, hooks: Hooks) -> None:
    """No id names it: without a look at what is new in Kommo, a second deal would be made."""
    accounts.run()
    lead_id = open_deal(accounts)
    accounts.control("clock", advance_s=10)  # Kommo's lists lag behind
    pay_for(accounts, None, email=ANN["email"])
    hooks.deliver()
    drained().raise_if_failed()
    assert [(lead["id"], lead["status_id"]) for lead in accounts.kommo()["leads"]] == [(lead_id, WON)]


def test_drain__leaves_alone_what_no_event_was_about(accounts: Accounts, hooks: Hooks) -> None:
    other, mine = open_deal(accounts), open_deal(accounts, contact={"name": "Bob", "email": "bob@example.com"})
    pay_for(accounts, None, email=ANN["email"])
    hooks.sent()  # its webhook got lost
    accounts.run(apply=False)
    pay_for(accounts, mine)
    hooks.deliver()
    drained()
    assert [accounts.lead(i)["status_id"] == WON for i in (other, mine)] == [False, True]
    accounts.run()
    assert accounts.lead(other)["status_id"] == WON


def test_drain__takes_a_burst_in_few_requests(accounts: Accounts, hooks: Hooks) -> None:
    lead_ids = [open_deal(accounts, contact={"name": "B", "email": f"b{n}@example.com"}) for n in range(50)]
    accounts.run()
    hooks.sent()
    for lead_id in lead_ids:
        pay_for(accounts, lead_id)
    hooks.deliver()
    done = drained()
    assert {accounts.lead(i)["status_id"] for i in lead_ids} == {WON}
    assert requests_of(done) == {
        "kommo GET /api/v4/leads": 1,
        "kommo PATCH /api/v4/leads": 1,
        "kommo POST /api/v4/leads/notes": 1,
        "lemon_squeezy GET /v1/orders": 1,
    }


def purchase(accounts: Accounts, hooks: Hooks) -> tuple[int, list[Any]]:
    """A deal, and all that Lemon Squeezy tells of the subscription that is bought for it."""
    variant = accounts.control("variants", name="Team", price=49000, interval="month")["data"]["id"]
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent()
    pay_for(accounts, lead_id, variant_id=int(variant))
    return lead_id, hooks.sent()


@pytest.mark.parametrize("order", range(6))
def test_purchase__in_any_order_and_twice_is_one_won_deal_and_one_note(
    accounts: Accounts, hooks: Hooks, order: int
) -> None:
    """Each event alone, with a drain after it; then all of them once more, last first."""
    lead_id, events = purchase(accounts, hooks)
    names = [event.label for event in events]
    assert sorted(names[:3]) == ["order_created", "subscription_created", "subscription_payment_success"]
    first = list(permutations(events[:3]))[order]
    for event in (*first, *events[3:], *reversed(events)):
        assert hooks.deliver([event]) == [200]
        drained().raise_if_failed()
    notes, tasks = accounts.texts(lead_id)
    assert (accounts.lead(lead_id)["status_id"], len(notes), tasks) == (WON, 1, [])
    assert len(accounts.kommo()["leads"]) == 1
    assert len(hooks.items(DONE)) == len(events)
    accounts.run().raise_if_failed()
    assert (len(accounts.texts(lead_id)[0]), accounts.run().plan.actions) == (1, ())


def test_refund__reaches_the_deal_at_once_however_old_the_order(accounts: Accounts, hooks: Hooks) -> None:
    lead_id = open_deal(accounts)
    order_id = pay_for(accounts, lead_id, age_minutes=60 * 24 * 30, email=ANN["email"])
    hooks.deliver()
    drained()
    accounts.control(f"orders/{order_id}/refund")
    hooks.deliver()
    drained().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == ATTENTION
    assert len(accounts.texts(lead_id)[1]) == 1


def test_renewal__of_a_sale_that_was_never_seen_brings_the_whole_chain(accounts: Accounts, hooks: Hooks) -> None:
    """The first event that ever came speaks of an invoice: its subscription and its order are read, too."""
    lead_id, events = purchase(accounts, hooks)
    invoice_event = next(event for event in events if event.label == "subscription_payment_success")
    hooks.deliver([invoice_event])
    done = drained()
    assert accounts.lead(lead_id)["status_id"] == WON
    asked = requests_of(done)
    assert [asked[f"lemon_squeezy GET /v1/{kind}/{{id}}"] for kind in
            ("orders", "subscriptions", "subscription-invoices")] == [1, 1, 1]  # fmt: skip


def test_object__that_is_not_there_yet_is_waited_for(
    accounts: Accounts, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "RETRY_DELAYS", tuple(timedelta(seconds=s) for s in (0.3, 0.5, 30)))
    lead_id, order_id = paid_deal(accounts, hooks)
    fault = {"api": "lemonsqueezy", "method": "GET", "path": f"/v1/orders/{order_id}", "status": 404, "times": 2}
    accounts.control("faults", inject=fault)
    done = drained()
    assert [event.state for event in done.events] == [WAITING, WAITING, DONE]
    assert accounts.lead(lead_id)["status_id"] == WON


def test_object__that_is_never_there_is_parked_with_its_reason_and_can_be_replayed(
    accounts: Accounts, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox, "RETRY_DELAYS", (timedelta(0),))
    lead_id, order_id = paid_deal(accounts, hooks)
    fault = {"api": "lemonsqueezy", "method": "GET", "path": f"/v1/orders/{order_id}", "status": 404, "times": 2}
    accounts.control("faults", inject=fault)
    done = drained()
    with pytest.raises(EventsParked, match=f"order:{order_id}: Lemon Squeezy does not know it"):
        done.raise_if_failed()
    (parked,) = hooks.items(PARKED)
    assert parked.event.event_id in caplog.text
    assert drained().report is None
    hooks.inbox.replay(Chosen(states=(PARKED,)), utc_now())
    drained().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_outage__parks_nothing_and_is_made_up_for(
    accounts: Accounts, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "RETRY_DELAYS", (timedelta(0), timedelta(0)))
    monkeypatch.setattr("dealsync.apis.transport.ATTEMPTS", 1)
    lead_id, _ = paid_deal(accounts, hooks)
    (item,) = hooks.items()
    path = f"/v1/orders/{item.event.object_id}"
    fault = {"api": "lemonsqueezy", "method": "GET", "path": path, "status": 503, "times": 3}
    accounts.control("faults", inject=fault)
    for _ in range(3):
        with pytest.raises(Unreachable):
            drained()
    assert [event.state for event in hooks.items()] == [WAITING]
    drained().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_write__whose_answer_was_lost_is_looked_up_and_never_sent_twice(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(accounts, hooks)
    accounts.inject("POST", "/leads/notes", how="apply_then_drop")
    done = drained()  # the second attempt comes after two seconds, in the same run
    assert [event.state for event in done.events] == [WAITING, DONE]
    assert len(accounts.texts(lead_id)[0]) == 1


def test_write__that_is_refused_is_tried_again_with_its_event(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(accounts, hooks)
    accounts.inject("PATCH", "/leads", status=400)
    done = drained()
    assert [event.state for event in done.events] == [WAITING, DONE]
    assert "HTTP 400" in done.events[0].words
    assert accounts.lead(lead_id)["status_id"] == WON


def test_kommo__tells_of_our_own_writes_and_nothing_follows(accounts: Accounts, hooks: Hooks) -> None:
    paid_deal(accounts, hooks)
    drained()
    told = [one for one in accounts.simulator.world.deliveries.all() if one.sender == "kommo"]
    assert set(hooks.deliver(told)) == {200}
    done = drained()
    assert done.report is not None
    assert "is known already: our own write, or read since" in {event.handled.result for event in done.events}
    assert (done.report.plan.actions, sum(done.report.requests.values()) <= 1) == ((), True)


def test_kommo__tells_of_a_persons_move_and_the_mirror_follows(accounts: Accounts, hooks: Hooks) -> None:
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent("kommo")
    accounts.control(f"leads/{lead_id}/move", status_id=QUALIFIED)
    assert set(hooks.deliver(sender="kommo")) == {200}
    done = drained()
    done.raise_if_failed()
    assert requests_of(done) == {"kommo GET /api/v4/leads": 1}
    places = build_store(load_environment()).mirror.placed([lead_id])
    assert places[lead_id][0] == QUALIFIED


def test_kommo__tells_of_a_deleted_deal(accounts: Accounts, hooks: Hooks) -> None:
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent("kommo")
    accounts.delete(lead_id)
    hooks.deliver(sender="kommo")
    drained().raise_if_failed()
    deals = build_store(load_environment()).mirror.deals()
    assert deals.set_index("lead_id").loc[lead_id, "is_deleted"]


def test_event__of_the_other_mode_is_passed_over_without_a_request(accounts: Accounts, hooks: Hooks) -> None:
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent()
    order_id = pay_for(accounts, lead_id)
    (delivery,) = hooks.sent()
    event = replace(read_event(delivery.body), test_mode=True)
    hooks.inbox.keep([Arrival(event, delivery.body, utc_now())])
    done = drained()
    (told,) = done.events
    assert (told.item.about, told.state) == (f"order:{order_id}", DONE)
    assert told.words == "is of test mode, and DEALSYNC_MODE is the other one"
    assert (requests_of(done), accounts.lead(lead_id)["status_id"] == WON) == ({}, False)


def test_named_events__are_handled_alone(accounts: Accounts, hooks: Hooks) -> None:
    first, second = open_deal(accounts), open_deal(accounts)
    accounts.run()
    hooks.sent()
    pay_for(accounts, first)
    pay_for(accounts, second)
    hooks.deliver()
    late = hooks.items()[1]
    drained(late.event.event_id)
    assert [accounts.lead(i)["status_id"] == WON for i in (first, second)] == [False, True]


def test_unforeseen_failure__leaves_the_events_and_sets_the_bad_one_apart(
    accounts: Accounts, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours must not hold up everybody: what failed together is tried in smaller and smaller batches."""
    monkeypatch.setattr(inbox, "RETRY_DELAYS", (timedelta(0),) * 6)
    lead_ids = [open_deal(accounts) for _ in range(3)]
    accounts.run()
    hooks.sent()
    bad, *_ = [pay_for(accounts, lead_id) for lead_id in lead_ids]
    hooks.deliver()
    apply_really = apply.apply_actions

    async def breaks_on_one(one: run.Run, actions: Any) -> Any:
        if any(action.order_id == bad for action in actions):
            raise ZeroDivisionError
        return await apply_really(one, actions)

    monkeypatch.setattr(drain, "apply_actions", breaks_on_one)
    for _ in range(20):
        try:
            if drained().report is None:
                break
        except (ZeroDivisionError, RunFailed):
            continue
    assert [accounts.lead(i)["status_id"] == WON for i in lead_ids] == [False, True, True]
    (parked,) = hooks.items(PARKED)
    assert (parked.event.object_id, parked.error) == (bad, "an unforeseen ZeroDivisionError")
