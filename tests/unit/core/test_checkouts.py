"""One live checkout per deal, whatever people do to it: examples, and properties against a Kommo held in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.alarms import episodes_in
from dealsync.core.asking import Obstacle, asked
from dealsync.core.cases import Ground
from dealsync.core.checkouts import CheckoutPlan, mark_of, plan_checkouts
from dealsync.core.evidence import CHECKOUT_KEY, IssuedCheckout
from dealsync.core.mapping import other_field
from dealsync.core.models import Contact, Deal, Money
from dealsync.core.plan import Action, CheckoutWish, DealChange, Kind, Letter, Task
from dealsync.core.policy import CheckoutPolicy, Policy, Reminder, VariantRule, WhenExpired
from dealsync.core.tables import LEDGER_COLUMNS
from dealsync.core.waiting import Awaiting, Payment
from tests.builders import INVOICE_SENT, LOST, NEW, NOW, PARTNERS, SALES, STORE, checkout, contact, deal, policy

CURRENCIES = {STORE: "USD"}
SEATS, COUPON, PLAN = 601, 602, 603


def selling(**changes: Any) -> Policy:
    """An account that sells one variant to every deal, at the deal's price."""
    section = CheckoutPolicy(store_id=STORE, variant_id="31", custom_price=True, **changes)
    return policy(checkout=section)


def waiting(**changes: Any) -> Deal:
    return deal(status_id=INVOICE_SENT, **changes)


@dataclass
class Life:
    """One deal and everything that was done about it; what plans say is carried out to the letter."""

    policy: Policy
    deal: Deal
    contact: Contact | None = field(default_factory=contact)
    checkouts: list[IssuedCheckout] = field(default_factory=list)
    payments: tuple[Payment, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    done: dict[str, Action] = field(default_factory=dict)
    told_at: dict[str, Any] = field(default_factory=dict)
    now: Any = NOW

    def plan(self) -> CheckoutPlan:
        rows = [(a.key, a.kind, "applied", a.source, "", a.lead_id, a.alarm) for a in self.done.values()]
        table = pd.DataFrame(rows, columns=LEDGER_COLUMNS)
        ground = Ground(self.policy, self.now, dict.fromkeys(self.done, "applied"), episodes_in(table))
        one = Awaiting(
            self.deal,
            self.contact,
            tuple(self.checkouts),
            self.payments,
            told_at=self.told_at,
            refused=self.refused,
        )
        return plan_checkouts([one], ground, CURRENCIES, payments_seen_at=self.now)

    def settle(self) -> CheckoutPlan:
        """Plan and carry out until nothing is left to do; the last plan, which is empty."""
        for _ in range(5):
            plan = self.plan()
            if not plan.actions:
                return plan
            for action in plan.actions:
                self._carry_out(action)
        raise AssertionError(f"no rest: {plan.actions}")

    def _carry_out(self, action: Action) -> None:
        assert action.key not in self.done, "the same effect twice"
        self.done[action.key] = action
        self.now += timedelta(seconds=1)
        self.told_at[action.key] = self.now
        if isinstance(action.change, CheckoutWish):
            number = len(self.checkouts) + 1
            opened = checkout(
                self.deal.lead_id,
                checkout_id=f"c{number}",
                url=f"https://store.example/{number}",
                created_at=self.now,
                expires_at=action.change.expires_at,
                custom={CHECKOUT_KEY: action.change.mark},
            )
            self.checkouts.append(opened)
        elif isinstance(action.change, DealChange):
            tags = {*self.deal.tags, *action.change.tags_to_add} - {*action.change.tags_to_delete}
            fields = {**self.deal.fields, **action.change.fields}
            written = {**self.deal.written, **action.change.fields}
            self.deal = replace(self.deal, fields=fields, written=written, tags=tuple(sorted(tags)))

    def count(self, kind: Kind) -> int:
        return sum(action.kind is kind for action in self.done.values())

    @property
    def link(self) -> str:
        return self.deal.fields.get("checkout_link", "")

    @property
    def open_tasks(self) -> list[str]:
        """The tasks that were set and not ticked off, by key."""
        set_, over = (
            {a.alarm for a in self.done.values() if a.kind is kind and a.alarm} for kind in (Kind.TASK, Kind.COMPLETE)
        )
        return sorted(set_ - over)


edits = st.fixed_dictionaries(
    {},
    optional={
        "price": st.sampled_from([0, 390, 490]),
        "email": st.sampled_from(["ann@example.com", "bob@example.com", "", "no address"]),
        "status_id": st.sampled_from([NEW, INVOICE_SENT, INVOICE_SENT, LOST]),
    },
)


@given(changes=st.lists(edits, max_size=8))
def test_checkouts__whatever_people_do_each_wish_has_one_and_the_deal_shows_that_of_the_last(
    changes: list[dict[str, Any]],
) -> None:
    life, wishes, last = Life(selling(), waiting()), set[tuple[int, str]](), None
    for change in [{}, *changes]:
        email = change.get("email")
        if email is not None:
            life.contact = replace(contact(), emails=(email,) if email else ())
        life.deal = replace(life.deal, **{k: v for k, v in change.items() if k != "email"})
        emails = life.contact.emails if life.contact else ()
        may_sell = life.deal.status_id == INVOICE_SENT and life.deal.price > 0 and any("@" in e for e in emails)
        if may_sell:
            last = (life.deal.price, emails[0])
            wishes.add(last)
        rest = life.settle()
        assert rest.actions == ()
        assert len(life.checkouts) == len(wishes)
        assert life.count(Kind.NOTE) == life.count(Kind.FIELDS)  # each link that is put there is told of
        if may_sell:
            (verdict,) = rest.verdicts
            assert (verdict.state, verdict.url, life.open_tasks) == ("live", life.link, [])
            shown = next(c for c in life.checkouts if c.url == life.link)
            opened_for = next(
                a.change
                for a in life.done.values()
                if isinstance(a.change, CheckoutWish) and a.change.mark == shown.mark
            )
            assert last is not None
            assert (opened_for.custom_price, opened_for.email) == (Money(last[0] * 100, "USD"), last[1])
        elif life.deal.status_id == INVOICE_SENT:
            assert len(life.open_tasks) == 1
            assert life.deal.tags == ("ls:no-checkout",)
        elif life.deal.status_id == LOST:
            assert (life.open_tasks, life.deal.tags) == ([], ())


def test_checkouts__flips_in_and_out_with_an_obstacle_set_one_task() -> None:
    life = Life(selling(), waiting(price=0))
    for _ in range(5):
        for status_id in (INVOICE_SENT, NEW):
            life.deal = replace(life.deal, status_id=status_id)
            life.settle()
    assert life.count(Kind.TASK) == len(life.open_tasks) == 1
    life.deal = replace(life.deal, status_id=LOST)
    life.settle()
    assert life.open_tasks == []


def test_checkouts__what_was_asked_for_before_is_told_of_again() -> None:
    """Else the client's latest word is a link whose payment would be flagged."""
    life = Life(selling(mails=True), waiting())
    for price in (490, 390, 490):
        life.deal = replace(life.deal, price=price)
        life.settle()
    letters = [a.change for a in life.done.values() if isinstance(a.change, Letter)]
    assert [life.checkouts[n].url in letter.text for n, letter in zip((0, 1, 0), letters, strict=True)] == [True] * 3


@pytest.mark.parametrize("by_mail", [True, False])
def test_reminder__comes_so_long_after_the_link_was_told_and_the_deal_came_back_and_payments_were_seen(
    by_mail: bool,
) -> None:
    days = timedelta(days=3)
    by = Reminder.EMAIL if by_mail else Reminder.TASK
    life = Life(selling(remind_after=days, remind_by=by, mails=by_mail), waiting(entered_at=NOW))
    kind = Kind.EMAIL if by_mail else Kind.TASK
    life.settle()
    told = life.count(kind)
    life.now += days - timedelta(minutes=1)
    life.settle()
    assert life.count(kind) == told
    life.deal = replace(life.deal, entered_at=life.now)
    life.now += timedelta(hours=1)
    life.settle()
    assert life.count(kind) == told
    life.now += days
    life.settle()
    assert life.count(kind) == told + 1


def test_reminder__waits_until_payments_were_looked_at_and_it_is_known_since_when_the_deal_waits() -> None:
    life = Life(selling(remind_after=timedelta(days=3)), waiting(entered_at=NOW))
    life.settle()
    life.now += timedelta(days=4)
    ground = Ground(life.policy, life.now, dict.fromkeys(life.done, "applied"), {})
    one = Awaiting(life.deal, life.contact, tuple(life.checkouts), told_at=life.told_at)
    for seen_at, count in ((None, 0), (NOW, 0), (life.now, 2)):
        assert len(plan_checkouts([one], ground, CURRENCIES, payments_seen_at=seen_at).actions) == count
    unknown = replace(one, deal=replace(life.deal, entered_at=None))
    plan = plan_checkouts([unknown], ground, CURRENCIES, payments_seen_at=life.now)
    assert (plan.actions, plan.unsure) == ((), frozenset({life.deal.lead_id}))


def test_checkouts__a_subscription_that_runs_is_asked_for_nothing() -> None:
    one = Awaiting(waiting(), contact(), is_subscribed=True)
    plan = plan_checkouts([one], Ground(selling(), NOW, {}, {}), CURRENCIES)
    assert (plan.actions, plan.verdicts[0].state) == ((), "paid")


def test_checkouts__a_trial_writes_to_nobody_and_leaves_a_link_for_real_money() -> None:
    life = Life(selling(mails=True), waiting())
    life.settle()
    life.policy = replace(life.policy, test_mode=True)
    before, letters = life.link, life.count(Kind.EMAIL)
    trial = replace(life.checkouts[0], url="https://store.example/trial", custom={CHECKOUT_KEY: mark()}, test_mode=True)
    life.checkouts.append(trial)
    rest = life.settle()
    assert (life.link, life.count(Kind.EMAIL)) == (before, letters)
    assert [refusal.rule for refusal in rest.refusals] == ["other_mode"]


def mark() -> str:
    return mark_of(replace(wish(), mark=""), 0, test_mode=True)


def test_checkouts__one_deal_s_trouble_is_no_other_s() -> None:
    plan = plan_checkouts(
        [Awaiting(waiting(lead_id=31), contact()), Awaiting(waiting(lead_id=32), None)],
        Ground(selling(), NOW, {}, {}),
        CURRENCIES,
    )
    assert {verdict.lead_id: verdict.state for verdict in plan.verdicts} == {31: "to-open", 32: "flagged"}
    assert Counter((a.lead_id, a.kind) for a in plan.actions) == {
        (31, Kind.CHECKOUT): 1,
        (32, Kind.TASK): 1,
        (32, Kind.TAG): 1,
    }


def test_checkouts__a_payment_that_was_given_back_lets_the_deal_be_asked_again() -> None:
    life = Life(selling(), waiting())
    life.settle()
    life.payments = (Payment(1000, is_kept=True),)
    (verdict,) = life.settle().verdicts
    assert (verdict.state, len(life.checkouts)) == ("paid", 1)
    life.payments = (Payment(1000, is_kept=False),)
    life.settle()
    assert len(life.checkouts) == 2
    assert life.link == life.checkouts[1].url


def test_checkouts__an_expired_one_is_opened_anew_each_time_where_that_is_wished() -> None:
    life = Life(selling(expires=timedelta(days=1), when_expired=WhenExpired.REISSUE), waiting())
    for number in range(1, 4):
        life.settle()
        assert (len(life.checkouts), life.link) == (number, life.checkouts[-1].url)
        life.now += timedelta(days=2)
    assert [c.mark.partition("-")[2] for c in life.checkouts] == ["", "2", "3"]


def test_wish__is_written_to_the_address_as_it_was_typed() -> None:
    """Case-folded, ß is ss: another domain, and another person."""
    typed = replace(contact(), emails=("kasse@weiss-bier.de",), typed=("Kasse@weiß-bier.de",))
    assert wish(who=typed).email == "Kasse@weiß-bier.de"
    upper = replace(contact(), typed=("ANN@example.com",))
    assert mark_of(wish(who=upper), 0, test_mode=False) == mark_of(wish(), 0, test_mode=False)


def test_wish__in_a_currency_without_cents_waits_until_it_is_known_how_it_counts() -> None:
    yen = replace(selling(), account_currency="JPY")
    assert obstacle(waiting(price=5000), yen, {STORE: "JPY"}) == "no-cents"
    found = asked(waiting(price=5000), contact(), replace(yen, flags_zero_decimal=False), {STORE: "JPY"})
    assert isinstance(found, CheckoutWish)
    assert found.custom_price == Money(5000, "JPY")


def test_checkouts__test_and_live_mode_never_share_one() -> None:
    life = Life(selling(), waiting())
    life.settle()
    life.policy = replace(life.policy, test_mode=True)
    assert [a.kind for a in life.plan().actions] == [Kind.CHECKOUT]


def test_checkouts__an_old_deal_gets_its_link_in_silence() -> None:
    life = Life(replace(selling(), notify_since=NOW), waiting(entered_at=NOW - timedelta(days=3)))
    life.settle()
    assert (life.link != "", life.count(Kind.NOTE), life.count(Kind.TASK)) == (True, 0, 0)


def test_checkouts__a_refusal_is_told_once_and_asked_for_again_when_the_deal_changes() -> None:
    life = Life(selling(), waiting())
    (action,) = (a for a in life.plan().actions if a.kind is Kind.CHECKOUT)
    life.refused[action.key] = "the variant is a draft"
    (task,) = (a.change for a in life.plan().actions if a.kind is Kind.TASK)
    assert isinstance(task, Task)
    assert "the variant is a draft" in task.text
    life.deal = replace(life.deal, price=390)
    assert [a.kind for a in life.plan().actions] == [Kind.CHECKOUT]


# --- what is asked for -------------------------------------------------------------------------------------------


def wish(one: Deal | None = None, *, rules: Policy | None = None, who: Contact | None = None) -> CheckoutWish:
    found = asked(one or waiting(), who or contact(), rules or selling(), CURRENCIES)
    assert isinstance(found, CheckoutWish)
    return found


def obstacle(one: Deal, rules: Policy, currencies: dict[str, str] | None = None) -> str:
    found = asked(one, contact(), rules, CURRENCIES if currencies is None else currencies)
    assert isinstance(found, Obstacle)
    return found.name


def test_wish__the_first_rule_that_fits_says_what_is_sold() -> None:
    rules = (
        VariantRule(STORE, "1", pipeline_id=PARTNERS),
        VariantRule(STORE, "2", tag="Team", field_id=PLAN, value="Yearly"),
        VariantRule(STORE, "3", tag="team"),
    )
    account = selling(rules=rules)
    yearly = {other_field(PLAN): " yearly "}
    assert wish(waiting(pipeline_id=PARTNERS), rules=account).variant_id == "1"
    assert wish(waiting(tags=("TEAM",), fields=yearly), rules=account).variant_id == "2"
    assert wish(waiting(tags=("TEAM",)), rules=account).variant_id == "3"
    assert wish(waiting(fields=yearly), rules=account).variant_id == "31"


def test_wish__the_price_is_shared_out_among_the_pieces() -> None:
    account = selling(quantity_field=SEATS)
    five = wish(waiting(fields={other_field(SEATS): "5.0"}), rules=account)
    assert (five.quantity, five.custom_price) == (5, Money(9800, "USD"))
    assert obstacle(waiting(fields={other_field(SEATS): "3"}), account) == "uneven-price"


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "1e3", "99999", "\u0661"])
def test_wish__a_quantity_that_is_none_is_an_obstacle(text: str) -> None:
    assert obstacle(waiting(fields={other_field(SEATS): text}), selling(quantity_field=SEATS)) == "bad-quantity"


def test_wish__a_price_is_charged_in_the_accounts_currency_or_not_at_all() -> None:
    assert obstacle(waiting(), selling(), {STORE: "EUR"}) == "other-currency"
    assert obstacle(waiting(), selling(), {}) == "other-currency"
    assert wish(rules=replace(selling(), price_digits=2)).custom_price == Money(490, "USD")


@pytest.mark.parametrize(
    ("emails", "found"),
    [
        (("ann@example.com", "bob@example.com"), "ann@example.com"),
        (("ann at example", "bob@example.com"), "bob@example.com"),
        (("ann@exämple.de",), "ann@exämple.de"),
    ],
)
def test_wish__goes_to_the_first_address_that_is_one(emails: tuple[str, ...], found: str) -> None:
    assert wish(who=replace(contact(), emails=emails)).email == found


def test_wish__custom_data_has_no_empty_values() -> None:
    account = selling(custom={"manager_id": "@owner", "pipeline": "@pipeline", "price": "@price", "plan": PLAN})
    assert wish(rules=account).custom == {"manager_id": "502", "pipeline": str(SALES), "price": "490.00"}
    assert wish(waiting(responsible_user_id=None), rules=account).custom == {"pipeline": str(SALES), "price": "490.00"}


same = wish()
OTHERS = (
    replace(same, email="bob@example.com"),
    replace(same, variant_id="32"),
    replace(same, store_id="9"),
    replace(same, quantity=2),
    replace(same, discount_code="SPRING"),
    replace(same, custom_price=Money(49100, "USD")),
    replace(same, custom_price=Money(49000, "EUR")),
    replace(same, custom_price=None),
)


def test_mark__tells_apart_what_is_asked_for_and_nothing_else() -> None:
    marks = [mark_of(one, 0, test_mode=False) for one in (same, *OTHERS)]
    marks += [mark_of(same, 1, test_mode=False), mark_of(same, 0, test_mode=True)]
    assert len(set(marks)) == len(marks)
    alike = replace(same, name="Ann B.", custom={"utm": "x"}, expires_at=NOW)
    assert mark_of(alike, 0, test_mode=False) == marks[0]
