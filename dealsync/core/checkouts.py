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
from typing import Any

from dealsync.core.alarms import lowered, raised
from dealsync.core.asking import Obstacle, asked
from dealsync.core.cases import Alarm, Ground
from dealsync.core.conflicts import person_moved_it
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.letters import letter
from dealsync.core.models import WON_STATUS_ID, Contact, Deal, Money
from dealsync.core.plan import Action, Change, CheckoutWish, DealChange, Kind, Note, Refusal, in_order
from dealsync.core.policy import Policy, Reminder, WhenExpired

MARK_LENGTH = 12
LINK_FIELD = "checkout_link"


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
    waiting: Iterable[Awaiting], ground: Ground, currencies: Mapping[str, str], gone: Collection[int] = ()
) -> CheckoutPlan:
    """Return the plan for these deals; of those that have left the invoice stage, flags are taken back.

    `currencies`: of the stores, by id; needed only where the deal's price is charged. `gone`: deals that were deleted.
    """
    desks = [_Desk(one, ground, currencies) for one in waiting]
    for desk in desks:
        desk.decide()
    alarms = [alarm for desk in desks for alarm in desk.alarms]
    actions = [action for desk in desks for action in desk.actions]
    actions += [action for alarm in alarms for action in raised(alarm, ground)]
    looked_at: dict[str, dict[str, Any]] = {desk.source: {} for desk in desks}
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
        "email": wish.email,
        "price": [price.minor, price.currency] if price else None,
        "quantity": wish.quantity,
        "discount": wish.discount_code,
        "rounds": rounds,
        "test": test_mode,
    }
    return hashlib.sha256(json.dumps(asked_for, sort_keys=True).encode()).hexdigest()[:MARK_LENGTH]


class _Desk:
    """One deal: what is decided about it."""

    def __init__(self, one: Awaiting, ground: Ground, currencies: Mapping[str, str]) -> None:
        self.deal = one.deal
        self.source = f"lead:{one.deal.lead_id}"
        self.actions: list[Action] = []
        self.alarms: list[Alarm] = []
        self.refusals: list[Refusal] = []
        self.verdict = Verdict(one.deal.lead_id, "elsewhere", "it is not in the invoice stage")
        self._one = one
        self._ground = ground
        self._currencies = currencies

    @property
    def policy(self) -> Policy:
        return self._ground.policy

    @property
    def is_unsure(self) -> bool:
        """Whether notes and tasks hang on when the deal came into its status, and nobody has asked yet."""
        since = self.policy.notify_since
        if since is None or self.deal.entered_at is not None or self.deal.updated_at < since:
            return False
        return bool(self.actions or self.alarms)

    def decide(self) -> None:
        """Find out what is owed."""
        deal = self.deal
        if deal.is_deleted:
            self.verdict = Verdict(deal.lead_id, "elsewhere", "it was deleted")
            return
        if (deal.pipeline_id, deal.status_id) not in self.policy.invoice_statuses:
            return
        if any(payment.is_kept for payment in self._one.payments):
            self._paid()
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
        mine = [c for c in self._one.checkouts if c.test_mode == self.policy.test_mode]
        return [c for c in mine if c.mark == mark or c.mark.startswith(f"{mark}-")]

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
        self._put_link(live)
        if not self._is_news:
            return
        policy, effect = self.policy.checkout, f"checkout:{live.mark}"
        values = {
            "url": live.url,
            "price": Money(price.minor * wish.quantity, price.currency) if (price := wish.custom_price) else "",
            "expires": live.expires_at or "",
            "name": wish.name,
            "company": policy.company,
        }
        is_first = not any(c.created_at < live.created_at for c in self._one.checkouts)
        self._note(effect, "checkout_link" if is_first else "checkout_link_changed", values)
        if policy.mails:
            self._mail(live, "email", "mail_link", wish, values)
        if policy.remind_after is not None and self._ground.now >= live.created_at + policy.remind_after:
            self._remind(live, wish, values)

    def _put_link(self, live: IssuedCheckout) -> None:
        held = self.deal.fields.get(LINK_FIELD, "")
        if held == live.url:
            return
        if (why := person_moved_it(self.deal, LINK_FIELD, held)) is not None:
            self.refusals.append(Refusal(self.source, self.deal.lead_id, "person_moved_it", why, LINK_FIELD))
            return
        # The same link may be put there again, after another one: the steps are counted.
        steps = sum(key.startswith(self._key("link:")) for key in self._ground.states)
        change = DealChange(fields={LINK_FIELD: live.url})
        self._act(f"link:{steps + 1}", Kind.FIELDS, "the link of its checkout is not in its LS field", change)

    def _note(self, effect: str, template: str, values: Mapping[str, Any]) -> None:
        key = self._key(f"{effect}:note")
        text = Note(self.policy.texts.render(template, key, values))
        self._act(f"{effect}:note", Kind.NOTE, "the link of its checkout is not noted yet", text)

    def _mail(
        self, live: IssuedCheckout, kind: str, template: str, wish: CheckoutWish, values: Mapping[str, Any]
    ) -> None:
        effect = f"checkout:{live.mark}:{kind}"
        if (words := self._one.refused.get(self._key(effect))) is not None:
            self._alarm("mail-failed", "the e-mail to the client did not arrive", mark=live.mark, words=words)
            return
        policy = self.policy
        content = letter(template, policy.texts, wish.email, wish.name, values, policy.checkout.html)
        self._act(effect, Kind.EMAIL, "the client has not got the link yet", content)

    def _remind(self, live: IssuedCheckout, wish: CheckoutWish, values: Mapping[str, Any]) -> None:
        if self.policy.checkout.remind_by is Reminder.EMAIL:
            self._mail(live, "reminder", "mail_reminder", wish, values)
        else:
            self._alarm("unpaid", "its checkout is not paid", mark=live.mark, since=live.created_at)

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
