"""The life of a subscription against both simulated APIs: what people see in Kommo after each thing that happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dealsync import doubts
from dealsync.errors import RunFailed
from dealsync.report import Report
from dealsync.report_markdown import as_markdown
from tests.accounts import ATTENTION, NEW, WON, Accounts
from tests.flows.test_reconcile import open_deal, pay


class Life:
    """One deal and the subscription that pays for it."""

    def __init__(self, accounts: Accounts, **variant: Any) -> None:
        self.accounts = accounts
        self.lead_id = open_deal(accounts, age_days=3)
        plan = {"name": "Team", "price": 49000, "interval": "month", **variant}
        self.variant_id = int(accounts.control("variants", **plan)["data"]["id"])
        total = 0 if variant.get("trial_days") else 49000
        self.order_id = pay(accounts, total=total, variant_id=self.variant_id, lead_id=self.lead_id)
        state = accounts.simulator.world.state()["lemon_squeezy"]
        self.id = int(state["subscriptions"][-1]["id"])

    def happens(self, what: str, **body: Any) -> Report:
        """Let something happen to the subscription, and a run come; then one more, which finds nothing."""
        self.accounts.control(f"subscriptions/{self.id}/{what}", **body)
        return self.run()

    def run(self) -> Report:
        report = self.accounts.run()
        report.raise_if_failed()
        assert self.accounts.run().plan.actions == ()
        return report

    @property
    def tags(self) -> set[str]:
        return {tag["name"] for tag in self.accounts.lead(self.lead_id)["_embedded"]["tags"]}

    @property
    def open_tasks(self) -> list[str]:
        tasks = [t for t in self.accounts.kommo()["tasks"] if t["entity_id"] == self.lead_id]
        return [t["text"] for t in tasks if not t["is_completed"]]

    @property
    def notes(self) -> list[str]:
        return self.accounts.texts(self.lead_id)[0]


def link_by_field(life: Life) -> None:
    """A person names the sale on its deal, so that nothing about the link is in question here."""
    type_order_id(life.accounts, life.lead_id, life.order_id)


def test_subscription__its_alarms_come_and_go_with_their_facts(accounts: Accounts) -> None:
    life = Life(accounts)
    life.run()
    assert accounts.lead(life.lead_id)["status_id"] == WON
    assert accounts.fields(life.lead_id)["LS subscription status"] == "active"
    assert (life.open_tasks, life.tags, len(life.notes)) == ([], set(), 1)

    life.happens("fail")
    assert (len(life.open_tasks), life.tags) == (1, {"ls:dunning"})
    assert life.open_tasks[0].startswith("Payment failed: the renewal of ")
    life.happens("recover")
    assert (life.open_tasks, life.tags) == ([], set())
    assert [note for note in life.notes if note.startswith("Renewed: $490.00")] != []
    assert accounts.fields(life.lead_id)["LS lifetime revenue"] == "980"

    life.happens("cancel")
    assert life.tags == {"ls:cancelled"}
    assert "ends " in life.open_tasks[0]
    life.happens("resume")
    assert (life.open_tasks, life.tags) == ([], set())
    life.happens("pause")
    assert (life.open_tasks, life.tags) == ([], {"ls:paused"})
    life.happens("unpause")
    assert life.tags == set()
    assert [n.partition(":")[0] for n in life.notes[2:4]] == ["Resumed", "Paused"]
    assert "are collected again" in life.notes[4]

    life.happens("fail")  # a second time: a second task, for it is another fact
    assert (len(life.open_tasks), life.tags) == (1, {"ls:dunning"})
    life.happens("expire")
    assert life.tags == {"churned", "ls:cancelled"}
    assert len(life.open_tasks) == 1
    assert life.open_tasks[0].startswith("Cancelled: ")


def test_subscription__a_task_that_a_person_ticked_off_stays_so(accounts: Accounts) -> None:
    life = Life(accounts)
    life.happens("cancel")
    task = next(t for t in accounts.kommo()["tasks"] if t["entity_id"] == life.lead_id)
    accounts.control(f"tasks/{task['id']}/complete")
    life.run()
    assert life.open_tasks == []
    life.happens("resume")
    assert life.tags == set()


def test_subscription__changed_seats_are_noted_with_old_and_new(accounts: Accounts) -> None:
    life = Life(accounts)
    life.run()
    life.happens("seats", quantity=5, prorate=False)
    assert [n for n in life.notes if n.startswith("Changed: ") and "1 seat -> " in n and "5 seats" in n] != []
    assert accounts.fields(life.lead_id)["LS seats"] == "5"


def test_subscription__a_trial_wins_nothing_before_its_money_came(accounts: Accounts) -> None:
    life = Life(accounts, trial_days=7)
    link_by_field(life)
    life.run()
    assert accounts.lead(life.lead_id)["status_id"] == NEW
    assert [n.split(" started")[0].split(" of ")[0] for n in life.notes] == ["Trial"]
    life.happens("fail")
    assert accounts.lead(life.lead_id)["status_id"] == NEW
    life.happens("recover")
    assert accounts.lead(life.lead_id)["status_id"] == WON
    assert [n for n in life.notes if n.startswith("Paid: $490.00")] != []
    assert [n for n in life.notes if n.startswith("Renewed")] == []


def test_subscription__a_renewal_given_back_calls_for_attention_once(accounts: Accounts) -> None:
    life = Life(accounts)
    life.run()
    life.happens("fail")
    life.happens("recover")
    invoice = accounts.simulator.world.state()["lemon_squeezy"]["subscription-invoices"][-1]["id"]
    accounts.control(f"subscription-invoices/{invoice}/refund", amount=1000)
    life.run()
    assert accounts.lead(life.lead_id)["status_id"] == WON
    accounts.control(f"subscription-invoices/{invoice}/refund")
    life.run()
    assert accounts.lead(life.lead_id)["status_id"] == ATTENTION
    assert [t.partition(":")[0] for t in life.open_tasks] == ["Renewal refunded in part", "Renewal refunded in full"]
    assert accounts.fields(life.lead_id)["LS refunded"] == "490"
    assert accounts.fields(life.lead_id)["LS lifetime revenue"] == "490"


def test_subscription__the_first_payment_given_back_counts_once(accounts: Accounts) -> None:
    """Lemon Squeezy shows it on the order and on its first invoice."""
    life = Life(accounts)
    life.run()
    accounts.control(f"orders/{life.order_id}/refund", amount=1000)
    life.run()
    assert len(life.open_tasks) == 1
    assert accounts.fields(life.lead_id)["LS refunded"] == "10"
    assert accounts.fields(life.lead_id)["LS lifetime revenue"] == "480"


def test_reminder_and_renewal_deals__come_where_the_account_wants_them(accounts: Accounts) -> None:
    config = accounts.folder / "dealsync.toml"
    wishes = "[policy]\nrenewal_reminder_days = 365\nrenewal_deals = true"
    config.write_text(config.read_text().replace("[policy]", wishes))
    life = Life(accounts, interval="year")
    life.run()
    assert [t for t in life.open_tasks if "renews " in t] != []
    life.happens("fail")
    life.happens("recover")
    deals = accounts.kommo()["leads"]
    assert [deal["status_id"] for deal in deals] == [WON, WON]
    assert deals[-1]["price"] == 490
    assert accounts.fields(deals[-1]["id"])["LS invoice id"]
    assert life.run().plan.actions == ()


def test_price__has_its_decimals_where_the_account_has_them(accounts: Accounts) -> None:
    accounts.control("faults", minor_units=True)
    config = accounts.folder / "dealsync.toml"
    config.write_text(config.read_text().replace("[kommo]", "[kommo]\nminor_units = true"))
    lead_id = open_deal(accounts, price=491, age_days=3)
    order_id = pay(accounts, total=49050, lead_id=lead_id)
    type_order_id(accounts, lead_id, order_id)
    accounts.run().raise_if_failed()
    assert accounts.simulator.world.kommo.exact_prices[lead_id] == 490.5
    assert accounts.run().plan.actions == ()


def test_deep_sweep__asks_for_refunded_invoices_whatever_their_age(accounts: Accounts) -> None:
    life = Life(accounts)
    life.happens("fail")
    life.happens("recover")
    invoice = accounts.simulator.world.state()["lemon_squeezy"]["subscription-invoices"][-1]["id"]
    accounts.control(f"subscription-invoices/{invoice}/refund")
    report = accounts.run(deep=True)
    assert report.requests["lemon_squeezy GET /v1/subscription-invoices"] == 2
    assert accounts.lead(life.lead_id)["status_id"] == ATTENTION


def test_refusal__says_who_moved_the_deal_and_when(accounts: Accounts) -> None:
    life = Life(accounts)
    life.run()
    accounts.control(f"leads/{life.lead_id}/move", status_id=NEW, user_id=503)
    report = accounts.run(deep=True)
    refusal = next(r for r in report.plan.refusals if r.rule == "person_moved_it")
    assert "(user 503, 20" in refusal.reason
    assert accounts.lead(life.lead_id)["status_id"] == NEW
    assert refusal.reason in as_markdown(report)
    later = accounts.run(deep=True)
    assert later.plan.refusals == report.plan.refusals
    assert refusal.reason not in as_markdown(later)
    assert "1 more are as in earlier runs" in as_markdown(later)
    shown = next(row for row in later.as_json()["drifts"] if row["class"] == "paid_not_won")
    assert shown["first_seen_at"] < later.started_at.isoformat()


def test_dunning__that_could_not_be_told_is_urgent_all_the_same_once_it_is(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All attempts have failed when it is first seen, and the task gets lost on its way: nothing of it is."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    life = Life(accounts)
    life.run()
    accounts.control(f"subscriptions/{life.id}/fail")
    record = accounts.simulator.world.lemon_squeezy.find("subscriptions", life.id)
    assert record is not None
    record["attributes"]["status"] = "unpaid"
    accounts.inject("POST", "/tasks", how="drop")
    with pytest.raises(RunFailed):
        accounts.run().raise_if_failed()
    assert life.open_tasks == []
    life.run()
    assert [task.partition(":")[0] for task in life.open_tasks] == ["URGENT, unpaid"]


@pytest.mark.parametrize("how", ["drop", "apply_then_drop"])
def test_renewal_deal__whose_answer_was_lost_is_not_taken_for_the_sales_own(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    config = accounts.folder / "dealsync.toml"
    config.write_text(config.read_text().replace("[policy]", "[policy]\nrenewal_deals = true"))
    variant = accounts.control("variants", name="Team", price=49000, interval="month")["data"]["id"]
    pay(accounts, email="new@example.com", variant_id=int(variant))
    accounts.run().raise_if_failed()  # the sale's own deal, made a moment before
    subscription = accounts.simulator.world.state()["lemon_squeezy"]["subscriptions"][-1]["id"]
    accounts.control(f"subscriptions/{subscription}/fail")
    accounts.control(f"subscriptions/{subscription}/recover")
    accounts.inject("POST", "/leads", how=how)
    with pytest.raises(RunFailed):
        accounts.run().raise_if_failed()
    accounts.run()
    accounts.run().raise_if_failed()
    assert accounts.run().plan.actions == ()
    deals = accounts.kommo()["leads"]
    assert ["LS invoice id" in accounts.fields(deal["id"]) for deal in deals] == [False, True]


def type_order_id(accounts: Accounts, lead_id: int, order_id: str) -> None:
    fields = {f["name"]: f["id"] for f in accounts.kommo()["custom_fields"]["leads"]}
    typed = [{"field_id": fields["LS order id"], "values": [{"value": order_id}]}]
    accounts.control(f"leads/{lead_id}/edit", custom_fields_values=typed)


@pytest.mark.parametrize("how", ["drop", "apply_then_drop"])
def test_resumed__its_note_is_not_lost_with_an_answer(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Task and tag of the cancellation are taken back by then: the note alone is owed."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    life = Life(accounts)
    life.run()
    life.happens("cancel")
    before = len(life.notes)
    accounts.control(f"subscriptions/{life.id}/resume")
    accounts.inject("POST", "/leads/notes", how=how)
    with pytest.raises(RunFailed):
        accounts.run().raise_if_failed()
    for _ in range(2):
        accounts.run().raise_if_failed()
    assert (len(life.notes), life.open_tasks, life.tags) == (before + 1, [], set())
