"""Lives of sales: random things happen at Lemon Squeezy and in Kommo, and runs come at any moment.

The oracle below is small and shares no code with the planner: it says how a deal must stand after a last run.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dealsync.core.models import Money, OrderStatus, Subscription
from dealsync.core.planner import make_plan
from tests.builders import (
    ATTENTION,
    LOST,
    NEW,
    NOW,
    WON,
    World,
    contact,
    deal,
    invoice,
    order,
    policy,
    subscription,
    webhook,
)
from tests.effort import costly

DAY = timedelta(days=1)
TOTAL = 49000


class LifeOfASale(RuleBasedStateMachine):
    """One deal, one subscription and its invoices; what is at Lemon Squeezy is `world`, what runs did is in it too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.world = World()
        self.person_moved_to: int | None = None  # since dealsync saw to the status

    # --- what happens at Lemon Squeezy -----------------------------------------------------------------------

    @initialize(trial=st.booleans(), status=st.sampled_from([NEW, NEW, NEW, WON, LOST]))
    def buy(self, trial: bool, status: int) -> None:
        total = 0 if trial else TOTAL
        started = subscription(
            subscription_status="on_trial" if trial else "active",
            renews_at=NOW + 30 * DAY,
            trial_ends_at=NOW + 7 * DAY if trial else None,
            quantity=1,
            created_at=NOW,
            updated_at=NOW,
        )
        first = invoice(1, total=total, billing_reason="initial", created_at=NOW)
        self.world = World(
            orders=(order(total=total, created_at=NOW, receipt_url="https://x.example/r?s=1"),),
            deals=(deal(31, status_id=status),),
            contacts=(contact(81),),
            subscriptions=(started,),
            invoices=(first,),
            hints=(webhook(31),),
        )

    @property
    def sub(self) -> Subscription:
        return self.world.subscriptions[0]

    @property
    def is_over(self) -> bool:
        return self.sub.subscription_status == "expired"

    def change(self, **changes: object) -> None:
        self.now += timedelta(hours=1)
        changed = replace(self.sub, updated_at=self.now, **changes)  # type: ignore[arg-type]
        self.world = replace(self.world, subscriptions=(changed,))

    @precondition(lambda self: not self.is_over)
    @rule(status=st.sampled_from(["active", "past_due", "unpaid", "paused"]))
    def status_moves(self, status: str) -> None:
        self.change(subscription_status=status, is_cancelled=False, ends_at=None)

    @precondition(lambda self: not self.is_over)
    @rule(days=st.sampled_from([5, 9]))
    def cancel(self, days: int) -> None:
        self.change(subscription_status="cancelled", is_cancelled=True, ends_at=NOW + days * 10 * DAY)

    @precondition(lambda self: not self.is_over)
    @rule()
    def expire(self) -> None:
        self.change(subscription_status="expired", ends_at=self.sub.ends_at or self.now)

    @precondition(lambda self: not self.is_over)
    @rule(seats=st.sampled_from([1, 2, 5]), plan=st.sampled_from(["Yearly", "Team"]))
    def change_plan(self, seats: int, plan: str) -> None:
        self.change(quantity=seats, variant_name=plan)

    @precondition(lambda self: not self.is_over and len(self.world.invoices) < 5)
    @rule()
    def renew(self) -> None:
        self.now += DAY
        paid = invoice(len(self.world.invoices) + 1, created_at=self.now)
        self.world = replace(self.world, invoices=(*self.world.invoices, paid))
        self.change(subscription_status="active", is_cancelled=False, ends_at=None, renews_at=self.now + 30 * DAY)

    @rule(order_id=st.sampled_from(["17", None]), minutes=st.integers(-600, 600), again=st.booleans())
    def webhook_arrives(self, order_id: str | None, minutes: int, again: bool) -> None:
        """Late, early, twice, with the deal's id or without: it says where to look, and changes nothing else."""
        of = {"order_id": order_id, "subscription_id": None if order_id else "9"}
        row = webhook(31 if again else None, at=self.now + timedelta(minutes=minutes), **of)
        self.world = replace(self.world, hints=(*self.world.hints, row, *([row] if again else [])))

    @rule(share=st.sampled_from([0.25, 0.5, 1]), which=st.integers(0, 4))
    def refund(self, share: float, which: int) -> None:
        self.now += timedelta(hours=1)
        invoices = list(self.world.invoices)
        item = invoices[which % len(invoices)]
        if item.billing_reason == "initial":
            bought = self.world.orders[0]
            minor = max(bought.refunded.minor, int(bought.total.minor * share))
            if minor == 0:
                return
            status = OrderStatus.REFUNDED if minor == bought.total.minor else OrderStatus.PARTIAL_REFUND
            back = replace(
                bought, refunded=Money(minor, "USD"), status=status, refunded_at=self.now, updated_at=self.now
            )
            self.world = replace(self.world, orders=(back,))
        minor = max(item.refunded.minor, int(item.total.minor * share))
        if minor:
            invoices[which % len(invoices)] = replace(
                item, refunded=Money(minor, "USD"), refunded_at=self.now, updated_at=self.now
            )
            self.world = replace(self.world, invoices=tuple(invoices))

    # --- what people and runs do -----------------------------------------------------------------------------

    @rule(status=st.sampled_from([NEW, LOST, WON, ATTENTION]))
    def person_moves(self, status: int) -> None:
        self.now += timedelta(minutes=5)
        before = self.world.deal(31)
        if before.status_id != status:
            self.world = replace(self.world, deals=(replace(before, status_id=status, closed_at=self.now),))

    @rule()
    def person_ticks_off_everything(self) -> None:
        """Tasks that people closed are never set again for the same fact; `World` counts what was sent."""

    @rule()
    def run(self) -> None:
        self.now += timedelta(minutes=20)
        # `after` fails when a key is used twice: no effect happens twice, whatever the order of things.
        self.world = self.world.after(make_plan(self.world.tables(), policy(), self.now))

    def teardown(self) -> None:
        """A last run; then nothing is left, and the deal stands as the oracle says."""
        if not self.world.orders:
            return
        before = self.world.deal(31)
        self.run()
        self.run()
        assert make_plan(self.world.tables(), policy(), self.now).actions == ()
        self._check_deal(before.status_id, before.written.get("status_id"))
        self._check_alarms()
        self._check_money()

    # --- the oracle ------------------------------------------------------------------------------------------

    def _payments(self) -> list[tuple[int, int]]:
        """What came and what went back: of the first payment, then of each renewal."""
        bought = self.world.orders[0]
        mine = [(i.total.minor, i.refunded.minor) for i in self.world.invoices if i.billing_reason != "initial"]
        if bought.total.minor:
            mine.insert(0, (bought.total.minor, bought.refunded.minor))
        return mine

    def _check_deal(self, status: int, written: str | None) -> None:
        """A person's move stays; money wins an open deal; money given back calls for attention."""
        now, payments = self.world.deal(31), self._payments()
        if (written is not None and written != str(status)) or not payments or status == LOST:
            assert now.status_id == status
        elif payments[0][1] >= payments[0][0]:
            assert now.status_id == ATTENTION
        else:
            assert now.status_id in (WON, ATTENTION)
            if all(back < came for came, back in payments):
                assert now.status_id == (ATTENTION if written == str(ATTENTION) else WON)

    def _check_alarms(self) -> None:
        status = self.sub.subscription_status
        open_tasks = [key for key in self.world.open_tasks if key.startswith("subscription:")]
        cancelled = [key for key in open_tasks if ":cancelled" in key]
        dunning = [key for key in open_tasks if ":dunning" in key]
        assert len(cancelled) == (status in ("cancelled", "expired"))
        assert len(dunning) == (status in ("past_due", "unpaid"))
        tags = set(self.world.deal(31).tags)
        assert ("ls:cancelled" in tags) == (status in ("cancelled", "expired"))
        assert ("ls:dunning" in tags) == (status in ("past_due", "unpaid"))
        assert ("ls:paused" in tags) == (status == "paused")
        assert ("churned" in tags) == (status == "expired")

    def _check_money(self) -> None:
        fields, payments = self.world.deal(31).fields, self._payments()
        net = sum(came - back for came, back in payments)
        assert float(fields["lifetime_revenue"]) * 100 == net
        assert float(fields.get("refunded", 0)) * 100 == sum(back for _, back in payments)
        assert fields["plan"] == f"Pro ({self.sub.variant_name})"
        assert fields["seats"] == str(self.sub.quantity)
        paid = [note for note in self.world.notes if note.startswith("Paid:")]
        renewed = [note for note in self.world.notes if note.startswith("Renewed:")]
        refunded_first_seen = payments and payments[0][1] >= payments[0][0]
        assert len(renewed) == max(len(payments) - 1, 0)
        assert len(paid) <= 1
        if payments and not refunded_first_seen and self.world.deal(31).status_id == WON:
            assert len(paid) == 1


LifeOfASale.TestCase.settings = settings(costly(12, thorough=200), stateful_step_count=14)
TestLifeOfASale = LifeOfASale.TestCase


def test_oracle__knows_a_plain_life() -> None:
    """The oracle itself is tried on a life without surprises, so that it cannot pass by never looking."""
    life = LifeOfASale()
    life.buy(trial=True, status=NEW)
    life.run()
    assert life.world.deal(31).status_id == NEW
    life.renew()
    life.run()
    assert life.world.deal(31).status_id == WON
    assert life.world.deal(31).fields["lifetime_revenue"] == "490"
    life.cancel(days=5)
    life.run()
    assert [key.split(":")[2] for key in life.world.open_tasks] == ["cancelled"]
    life.status_moves("active")
    life.run()
    assert life.world.open_tasks == []
    told = [note.replace(",", ":").partition(":")[0] for note in life.world.notes]
    assert told == ["Trial of Pro (Yearly) started", "Paid", "Resumed"]
    life.teardown()
