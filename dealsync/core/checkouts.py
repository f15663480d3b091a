"""Deals that wait for payment -> one live checkout each, and its link where the client will see it.

A checkout is known by its mark, a digest of what was asked for: the same wish finds the same checkout again, however
often the deal comes and goes; another price, e-mail or variant is another wish. What is told of a checkout is planned
once it is there, so a plan opens checkouts, and the plan after it passes their links on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dealsync.core.alarms import lowered, raised
from dealsync.core.asking import Obstacle, asked
from dealsync.core.cases import Alarm, Ground
from dealsync.core.conflicts import person_moved_it
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.letters import letter
from dealsync.core.models import WON_STATUS_ID, Contact, Deal, Money, normal_email
from dealsync.core.plan import Action, Change, CheckoutWish, DealChange, Kind, Note, Refusal, in_order
from dealsync.core.policy import Policy, Reminder, WhenExpired

MARK_LENGTH = 12
LINK_FIELD = "checkout_link"
LETTERS = ("email", "reminder")
"""Effects of a checkout that write to the client."""


@dataclass(frozen=True, slots=True)
class Payment:
    """An order that brought money for a deal."""

    number: int
    is_kept: bool  # not given back


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A deal, and what a checkout for it is made from."""

    deal: Deal
    contact: Contact | None = None  # the main one
    checkouts: tuple[IssuedCheckout, ...] = ()  # that dealsync opened for it, oldest first
    payments: tuple[Payment, ...] = ()
    is_subscribed: bool = False  # its sale started a subscription that goes on, a trial perhaps
    told_at: Mapping[str, datetime] = field(default_factory=dict)  # when what was done about it was done, by key
    refused: Mapping[str, str] = field(default_factory=dict)  # what the other side would not take, by key: its words


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a deal stands: its live checkout, or why it has none. No personal data."""

    lead_id: int
    state: str  # to-open, live, flagged, paid, elsewhere
    words: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What is to be done about checkouts."""

    actions: tuple[Action, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unsure: frozenset[int] = frozenset()  # deals about which it matters since when they are in their status


def plan_checkouts(
    waiting: Iterable[Awaiting],
    ground: Ground,
    currencies: Mapping[str, str],
    gone: Collection[int] = (),
    payments_seen_at: datetime | None = None,
) -> CheckoutPlan:
    """Return the plan for these deals; of those that are closed, flags are taken back.

    `currencies`: of the stores, by id; needed only where the deal's price is charged. `gone`: deals that were deleted.
    `payments_seen_at`: payments before that are known, so that nobody is reminded of what he has paid.
    """
    desks = [_Desk(one, ground, currencies, payments_seen_at) for one in waiting]
    for desk in desks:
        desk.decide()
    alarms = [alarm for desk in desks for alarm in desk.alarms]
    actions = [action for desk in desks for action in desk.actions]
    actions += [action for alarm in alarms for action in raised(alarm, ground)]
    # A deal that is moved out of the stage and open still keeps its flags: it may be back in a minute.
    looked_at: dict[str, dict[str, Any]] = {desk.source: {} for desk in desks if not desk.is_away}
    actions += lowered(alarms, ground, looked_at, gone)
    return CheckoutPlan(
        actions=tuple(in_order(actions)),
        verdicts=tuple(desk.verdict for desk in desks),
        refusals=tuple(refusal for desk in desks for refusal in desk.refusals),
        unsure=frozenset(desk.deal.lead_id for desk in desks if desk.is_unsure),
    )


def mark_of(wish: CheckoutWish, rounds: int, *, test_mode: bool) -> str:
    """Return the digest of what is asked for. `rounds`: payments that came for the deal and were given back."""
    price = wish.custom_price
    asked_for = {
        "store": wish.store_id,
        "variant": wish.variant_id,
        "email": normal_email(wish.email),
        "price": [price.minor, price.currency] if price else None,
        "quantity": wish.quantity,
        "discount": wish.discount_code,
        "rounds": rounds,
        "test": test_mode,
    }
    return hashlib.sha256(json.dumps(asked_for, sort_keys=True).encode()).hexdigest()[:MARK_LENGTH]


def _wish_of(mark: str) -> str:
    """What was asked for: a checkout that took the place of an expired one asks for the same."""
    return mark.partition("-")[0]


class _Desk:
    """One deal: what is decided about it."""

    def __init__(
        self, one: Awaiting, ground: Ground, currencies: Mapping[str, str], payments_seen_at: datetime | None
    ) -> None:
        self.deal = one.deal
        self.source = f"lead:{one.deal.lead_id}"
        self.actions: list[Action] = []
        self.alarms: list[Alarm] = []
        self.refusals: list[Refusal] = []
        self.verdict = Verdict(one.deal.lead_id, "elsewhere", "it is not in the invoice stage")
        self._one = one
        self._ground = ground
        self._currencies = currencies
        self._payments_seen_at = payments_seen_at
        self._asks_since_when = False

    @property
    def policy(self) -> Policy:
        return self._ground.policy

    @property
    def is_away(self) -> bool:
        """Whether the deal is open and not in the invoice stage."""
        place = (self.deal.pipeline_id, self.deal.status_id)
        return self.deal.is_open and not self.deal.is_deleted and place not in self.policy.invoice_statuses

    @property
    def is_unsure(self) -> bool:
        """Whether notes and tasks hang on when the deal came into its status, and nobody has asked yet."""
        if self.deal.entered_at is not None:
            return False
        since = self.policy.notify_since
        is_new = since is not None and self.deal.updated_at >= since and bool(self.actions or self.alarms)
        return is_new or self._asks_since_when

    def decide(self) -> None:
        """Find out what is owed."""
        deal = self.deal
        if deal.is_deleted:
            self.verdict = Verdict(deal.lead_id, "elsewhere", "it was deleted")
            return
        if self.is_away:
            self._letters_that_came_back()
        if (deal.pipeline_id, deal.status_id) not in self.policy.invoice_statuses:
            return
        if any(payment.is_kept for payment in self._one.payments):
            self._paid()
            return
        if self._one.is_subscribed:
            self.verdict = Verdict(deal.lead_id, "paid", "its subscription runs already")
            return
        wish = asked(deal, self._one.contact, self.policy, self._currencies)
        if isinstance(wish, Obstacle):
            self._flag(wish.name, wish.words, **wish.values)
            return
        self._serve(wish)

    # --- the one live checkout -------------------------------------------------------------------------------

    def _serve(self, wish: CheckoutWish) -> None:
        policy, now = self.policy.checkout, self._ground.now
        mark = mark_of(wish, len(self._one.payments), test_mode=self.policy.test_mode)
        opened = self._opened(mark)
        live = next((c for c in opened if c.expires_at is None or c.expires_at > now), None)
        if live is not None:
            self.verdict = Verdict(self.deal.lead_id, "live", url=live.url)
            self._tell(live, wish)
        elif opened and policy.when_expired is not WhenExpired.REISSUE:
            self._expired(opened[-1], policy.when_expired)
        else:
            again = f"-{len(opened) + 1}" if opened else ""
            expires_at = None if policy.expires is None else now + policy.expires
            self._open(replace(wish, mark=f"{mark}{again}", expires_at=expires_at))

    def _opened(self, mark: str) -> list[IssuedCheckout]:
        """The checkouts for a wish, in the order in which they were opened: each after the one before had expired."""
        return [c for c in self._mine if _wish_of(c.mark) == mark]

    def _open(self, wish: CheckoutWish) -> None:
        effect = f"checkout:{wish.mark}"
        if (words := self._one.refused.get(self._key(effect))) is not None:
            self._flag("checkout-refused", "Lemon Squeezy refused to open a checkout", words=words)
        else:
            self.verdict = Verdict(self.deal.lead_id, "to-open")
        if self._key(effect) in self._ground.states:
            # Opened, and not to be seen: a person's hand in the database, or in the store.
            self.verdict = Verdict(self.deal.lead_id, "flagged", "its checkout was opened, and is nowhere to be found")
        self._act(effect, Kind.CHECKOUT, "the deal waits for payment and has no checkout for it", wish)

    def _expired(self, last: IssuedCheckout, when: WhenExpired) -> None:
        words = "its checkout has expired"
        if when is WhenExpired.TASK:
            expired = {"expires": last.expires_at, "lead_id": self.deal.lead_id}
            self._flag("checkout-expired", words, mark=last.mark, **expired)
        else:
            self.verdict = Verdict(self.deal.lead_id, "flagged", words)

    # --- where the link goes ---------------------------------------------------------------------------------

    def _tell(self, live: IssuedCheckout, wish: CheckoutWish) -> None:
        times = self._put_link(live)
        if not self._is_news:
            return
        # A link that is put back after another one is told of again, so that the latest word is the right one.
        again = f":{times}" if times > 1 else ""
        note, mail = (f"checkout:{live.mark}:{what}{again}" for what in ("note", "email"))
        values = self._values(live, wish)
        text = self.policy.texts.render(self._words_for(live, times), self._key(note), values)
        self._act(note, Kind.NOTE, "the link of its checkout is not noted yet", Note(text))
        if self._mails:
            self._mail(mail, live, "mail_link", wish, values)
        if self._reminds_now(live, note, mail):
            self._remind(live, wish, values)

    def _values(self, live: IssuedCheckout, wish: CheckoutWish) -> dict[str, Any]:
        price = wish.custom_price
        return {
            "url": live.url,
            "price": Money(price.minor * wish.quantity, price.currency) if price else "",
            "expires": self.policy.texts.moment(live.expires_at) if live.expires_at else "",
            "name": wish.name,
            "company": self.policy.checkout.company,
        }

    def _words_for(self, live: IssuedCheckout, times: int) -> str:
        earlier = [c for c in self._mine if c.created_at < live.created_at]
        if times == 1 and not earlier:
            return "checkout_link"
        same_wish = any(_wish_of(c.mark) == _wish_of(live.mark) for c in earlier)
        return "checkout_link_again" if same_wish or self._one.payments else "checkout_link_changed"

    def _put_link(self, live: IssuedCheckout) -> int:
        """See to it that the link stands in its field; return how often it was put there, this time included."""
        held, began = self.deal.fields.get(LINK_FIELD, ""), self._key("link:")
        steps = [key.removeprefix(began) for key in self._ground.states if key.startswith(began)]
        times = sum(step.partition(":")[2] == live.mark for step in steps)
        if held == live.url:
            return max(times, 1)
        others = [c for c in self._one.checkouts if c.url == held and c.test_mode != live.test_mode]
        if others and live.test_mode:
            why = "it holds the link of a checkout for real money; a trial leaves it"
            self.refusals.append(Refusal(self.source, self.deal.lead_id, "other_mode", why, LINK_FIELD))
            return max(times, 1)
        if (why_not := person_moved_it(self.deal, LINK_FIELD, held)) is not None:
            self.refusals.append(Refusal(self.source, self.deal.lead_id, "person_moved_it", why_not, LINK_FIELD))
            return max(times, 1)
        # The same link may be put there again, after another one: the steps are counted.
        change = DealChange(fields={LINK_FIELD: live.url})
        effect = f"link:{len(steps) + 1}:{live.mark}"
        self._act(effect, Kind.FIELDS, "the link of its checkout is not in its LS field", change)
        return times + 1

    @property
    def _mine(self) -> list[IssuedCheckout]:
        """The deal's checkouts of this mode."""
        return [c for c in self._one.checkouts if c.test_mode == self.policy.test_mode]

    @property
    def _mails(self) -> bool:
        """Whether clients are written to. Never in a trial: the addresses are those of real people."""
        return self.policy.checkout.mails and not self.policy.test_mode

    def _mail(
        self, effect: str, live: IssuedCheckout, template: str, wish: CheckoutWish, values: Mapping[str, Any]
    ) -> None:
        if (words := self._one.refused.get(self._key(effect))) is not None:
            self._alarm("mail-failed", "the e-mail to the client did not arrive", mark=live.mark, words=words)
            return
        policy = self.policy
        content = letter(template, policy.texts, wish.email, wish.name, values, policy.checkout.html)
        self._act(effect, Kind.EMAIL, "the client has not got the link yet", content)

    def _reminds_now(self, live: IssuedCheckout, note: str, mail: str) -> bool:
        """Whether the client had the link for long enough, as far as it is known, and has surely not paid."""
        after, told_at = self.policy.checkout.remind_after, self._one.told_at
        last = told_at.get(self._key(mail if self._mails else note))
        if after is None or last is None:
            return False
        due_at = max(live.created_at, last, self.deal.entered_at or live.created_at) + after
        if self._ground.now < due_at:
            return False
        self._asks_since_when = self.deal.entered_at is None
        seen_at = self._payments_seen_at
        return not self._asks_since_when and seen_at is not None and seen_at >= due_at

    def _remind(self, live: IssuedCheckout, wish: CheckoutWish, values: Mapping[str, Any]) -> None:
        if self.policy.checkout.remind_by is Reminder.EMAIL and not self.policy.test_mode:
            self._mail(f"checkout:{live.mark}:reminder", live, "mail_reminder", wish, values)
        else:
            self._alarm("unpaid", "its checkout is not paid", mark=live.mark, since=live.created_at)

    def _letters_that_came_back(self) -> None:
        """A letter may come back when the deal has moved on: somebody has to know all the same."""
        for key, words in self._one.refused.items():
            mark, _, what = key.removeprefix(self._key("checkout:")).partition(":")
            if what.startswith(LETTERS):
                self._alarm("mail-failed", "the e-mail to the client did not arrive", mark=mark, words=words)

    # --- flags -----------------------------------------------------------------------------------------------

    def _paid(self) -> None:
        """A deal that was won and is back in the stage; one that is about to be won needs no words."""
        if self.deal.written.get("status_id") == str(WON_STATUS_ID):
            number = max(payment.number for payment in self._one.payments if payment.is_kept)
            self._flag("paid-already", "it is paid already", number=number)
        self.verdict = Verdict(self.deal.lead_id, "paid", "it is paid already")

    def _flag(self, name: str, why: str, *, mark: str = "", **values: Any) -> None:
        """There is no checkout, and a person has to mend something."""
        self.verdict = Verdict(self.deal.lead_id, "flagged", why)
        self._alarm(name, why, mark=mark, **values)

    def _alarm(self, name: str, why: str, *, mark: str = "", **values: Any) -> None:
        stem = self._key(f"flag:{name}:{mark}" if mark else f"flag:{name}")
        if stem not in self._ground.episodes and not self._is_news:
            return
        owner = self.policy.owner_of(self.deal)
        evidence = "the deal as it stands in Kommo"
        self.alarms.append(
            Alarm(stem, f"flag:{name}", self.source, "", self.deal.lead_id, values, evidence, why, owner)
        )

    @property
    def _is_news(self) -> bool:
        """Whether the deal came into its status late enough for notes, tasks and e-mails."""
        return self.policy.notifies(self.deal.entered_at or self.deal.updated_at)

    def _key(self, effect: str) -> str:
        return f"{self.source}:{effect}"

    def _act(self, effect: str, kind: Kind, reason: str, change: Change) -> None:
        key, lead_id = self._key(effect), self.deal.lead_id
        if key not in self._ground.states:
            evidence = "the deal is in the invoice stage"
            self.actions.append(Action(key, kind, self.source, lead_id, reason, evidence, change))
