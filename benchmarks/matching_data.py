"""Orders, deals and contacts whose truth is known: what `match` is measured and tested against.

Every scene plays one thing that happens in a real account, at random times, prices and names, and labels its orders.
All scenes share few prices, names and domains, and addresses differ by a digit: whoever guesses by price, by name, by
domain or by a nearly equal e-mail finds the wrong deal. The labels hold for the policy of `tests.builders.policy()`.
The scenes of `matching_evidence` add webhooks, claims and checkouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any

from benchmarks.matching_evidence import BEYOND_EVIDENCE, CHECKOUT_VARIANTS, EVIDENCE_SCENES
from benchmarks.matching_scene import (
    FIRST_NAMES,
    HIGH_PRICES,
    OTHER_VARIANT,
    PRICES,
    VARIANTS,
    Account,
    Answer,
    Labelled,
    Scene,
    as_typed,
)  # fmt: skip
from dealsync.core.models import OrderStatus, Tier
from tests.builders import LOST, NEW, NOW, PARTNERS, WON, World, policy

DEFAULT_ORDERS = 2_000
BEYOND_THE_RULES = frozenset({"typo in the e-mail", "e-mail that nobody knows", "colleague's e-mail"}) | BEYOND_EVIDENCE
"""Situations with a right deal that no tier of today can name. To miss it is no fault, to take another one is."""


def generate(orders: int = DEFAULT_ORDERS, seed: int = 1) -> Labelled:
    """Return an account with at least so many orders: every scene equally often. The same seed, the same account."""
    chance = Random(seed)  # noqa: S311 - the same data every time is the point
    account = Account(count(chance.randint(1, 10_000)))
    while len(account.orders) < orders:
        for play in (*SCENES, *EVIDENCE_SCENES):
            variants = CHECKOUT_VARIANTS if play in EVIDENCE_SCENES else VARIANTS
            at = NOW - timedelta(minutes=chance.randint(3 * 1440, 20 * 1440))
            scene = Scene(account, chance, at, chance.choice(PRICES), chance.choice(variants))
            scene.deal(scene.contact())  # a bystander who has the same price open and pays nothing
            play(scene)
    chance.shuffle(account.orders)
    chance.shuffle(account.deals)
    chance.shuffle(account.contacts)
    chance.shuffle(account.links)
    chance.shuffle(account.hints)
    chance.shuffle(account.checkouts)
    world = World(
        tuple(account.orders), tuple(account.deals), tuple(account.contacts), tuple(account.subscriptions),
        links=tuple(account.links), hints=tuple(account.hints), checkouts=tuple(account.checkouts),
        merges=tuple(account.merges),
    )  # fmt: skip
    return Labelled(world, account.labels)


def _mistyped(email: str, chance: Random) -> str:
    """Return the address with two letters swapped, one lost or one doubled. The number stays: it is nobody else's."""
    spots = [i for i in range(email.index("@")) if email[i : i + 2].isalpha() and email[i] != email[i + 1]]
    i = chance.choice(spots)
    return (
        email[:i] + chance.choice((email[i + 1] + email[i], email[i], email[i : i + 2] + email[i + 1])) + email[i + 2 :]
    )


# The buyer's own deal


def _one_open_deal(s: Scene) -> None:
    buyer = s.contact()
    s.pays("one open deal", s.deal(buyer), buyer.emails[0])


def _capitals_and_blanks(s: Scene) -> None:
    buyer = s.contact()
    s.pays("capitals and blanks", s.deal(buyer), f" {as_typed(buyer.emails[0].upper(), s.chance)}\t")


def _cents_above_the_price(s: Scene) -> None:
    buyer = s.contact()
    s.pays("cents above the price", s.deal(buyer), buyer.emails[0], total=s.price * 100 + s.chance.randint(1, 99))


def _partly_refunded(s: Scene) -> None:
    buyer = s.contact()
    changes: dict[str, Any] = {"status": OrderStatus.PARTIAL_REFUND, "refunded": s.chance.randint(1, s.price * 100 - 1)}
    s.pays("partly refunded", s.deal(buyer), buyer.emails[0], **changes)


def _typo(s: Scene) -> None:
    buyer = s.contact()
    s.pays("typo in the e-mail", s.deal(buyer), _mistyped(buyer.emails[0], s.chance), by=None)


def _second_address(s: Scene) -> None:
    buyer = s.contact(s.email(), s.email())
    s.pays("second address of the card", s.deal(buyer), buyer.emails[1])


def _unknown_address(s: Scene) -> None:
    s.pays("e-mail that nobody knows", s.deal(s.contact()), s.email(), by=None)


def _colleagues_address(s: Scene) -> None:
    colleague = s.contact()
    s.deal(colleague, price=s.price + s.chance.randint(1, 200))
    s.pays("colleague's e-mail", s.deal(s.contact()), colleague.emails[0], by=None)


# Several deals, several people


def _two_open_deals(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    s.deal(buyer)
    s.pays("two open deals, one price", Answer.PERSON, buyer.emails[0])


def _two_open_deals_two_prices(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    s.deal(buyer, price=s.price + s.chance.randint(1, 200))
    s.pays("two open deals, two prices", Answer.PERSON, buyer.emails[0])


def _both_of_two_open_deals(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    s.deal(buyer)
    for at in (s.at, s.at + s.hours(0, 48)):
        s.pays("two open deals, paid twice", Answer.PERSON, buyer.emails[0], created_at=at)


def _shared_mailbox(s: Scene) -> None:
    mailbox = s.email()
    s.deal(s.contact(mailbox, s.email()))
    s.deal(s.contact(s.email(), mailbox))
    s.pays("shared mailbox, two deals", Answer.PERSON, mailbox)


def _shared_mailbox_one_deal(s: Scene) -> None:
    mailbox = s.email()
    s.contact(s.email(), mailbox)
    s.pays("shared mailbox, one deal", s.deal(s.contact(mailbox, s.email())), mailbox)


def _own_address_beside_a_shared_mailbox(s: Scene) -> None:
    mailbox = s.email()
    buyer = s.contact(mailbox, s.email())
    s.deal(s.contact(mailbox))
    s.pays("own e-mail beside a shared mailbox", s.deal(buyer), buyer.emails[1])


def _bookkeeper(s: Scene) -> None:
    bookkeeper = s.contact()
    for _ in range(3):
        s.deal(s.contact(), bookkeeper)
    s.pays("bookkeeper of several companies", Answer.PERSON, bookkeeper.emails[0])


def _two_contacts_of_one_deal(s: Scene) -> None:
    bookkeeper = s.contact()
    s.pays("second contact of the deal", s.deal(s.contact(), bookkeeper), bookkeeper.emails[0])


def _look_alikes(s: Scene) -> None:
    """Companies of one group: the same domain and price, the same buyer's name but for a digit."""
    name, domain = s.chance.choice(FIRST_NAMES), f"group{next(s.account.numbers)}.example"
    for number in range(1, 4):
        lead_id = s.deal(s.contact(f"{name}{number}@{domain}"), name=f"Group {number} GmbH")
        s.pays("look-alike companies", lead_id, f"{name}{number}@{domain}", created_at=s.at + s.hours(0, 48))
    s.deal(s.contact(f"{name}@{domain}"), name="Group GmbH")
    s.pays("look-alike without a deal", Answer.SELF_SERVE, f"{name}4@{domain}")


def _shared_mailbox_then_own_address(s: Scene) -> None:
    """Paid from the shared mailbox, then once more from the own one: what that leaves free is not the first one's."""
    mailbox = s.email()
    buyer = s.contact(mailbox, s.email())
    lead_id = s.deal(buyer)
    s.deal(s.contact(mailbox))
    s.pays("shared mailbox, then own e-mail", Answer.PERSON, mailbox)
    later = s.at + s.hours(1, 48)
    s.pays("own e-mail beside a shared mailbox", lead_id, buyer.emails[1], created_at=later)


# The same buyer again


def _twice(s: Scene) -> None:
    buyer = s.contact(s.email(), s.email())
    s.pays("same plan twice: first", s.deal(buyer), buyer.emails[0])
    later = s.at + s.hours(1, 48)
    s.pays("same plan twice: again", Answer.PERSON, s.chance.choice(buyer.emails), created_at=later)


def _twice_in_two_runs(s: Scene) -> None:
    buyer = s.contact()
    lead_id = s.deal(buyer, status_id=WON)
    s.link(s.pays("stored link", lead_id, buyer.emails[0], by=Tier.LEDGER), lead_id)
    s.pays("same plan twice: next run", Answer.PERSON, buyer.emails[0], created_at=s.at + s.hours(1, 48))


def _stranger_twice(s: Scene) -> None:
    email = s.email()
    s.pays("nobody known", Answer.SELF_SERVE, email)
    s.pays("same plan twice: stranger", Answer.PERSON, email, created_at=s.at + s.hours(1, 48))


def _another_product(s: Scene) -> None:
    buyer = s.contact()
    s.pays("one open deal", s.deal(buyer), buyer.emails[0])
    changes: dict[str, Any] = {"variant_id": OTHER_VARIANT, "created_at": s.at + s.hours(1, 48)}
    s.pays("another product later", Answer.SELF_SERVE, buyer.emails[0], **changes)


def _nobody(s: Scene) -> None:
    s.pays("nobody known", Answer.SELF_SERVE, s.email())


def _contact_without_deal(s: Scene) -> None:
    s.pays("contact without a deal", Answer.SELF_SERVE, s.contact().emails[0])


# Money that does not fit


def _another_currency(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=s.chance.choice((NEW, WON)))
    s.pays("another currency", Answer.PERSON, buyer.emails[0], currency=s.chance.choice(("EUR", "GBP", "CAD")))


def _another_amount(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=s.chance.choice((NEW, WON)))
    total = s.chance.choice((s.price * 100 - 1, s.price * 100 + 100, s.price * 10, s.price * 119))
    s.pays("another amount", Answer.PERSON, buyer.emails[0], total=total)


def _high_amount(s: Scene) -> None:
    buyer, price = s.contact(), s.chance.choice(HIGH_PRICES)
    s.deal(buyer, price=price, status_id=s.chance.choice((NEW, WON)))
    s.pays("above max_auto_amount", Answer.PERSON, buyer.emails[0], total=price * 100)


def _highest_automatic_amount(s: Scene) -> None:
    buyer, total = s.contact(), policy().max_auto_amount
    s.pays("exactly max_auto_amount", s.deal(buyer, price=total // 100), buyer.emails[0], total=total)


def _deal_without_a_price(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, price=0, status_id=s.chance.choice((NEW, WON)))
    s.pays("cents for a deal without a price", Answer.PERSON, buyer.emails[0], total=s.chance.randint(1, 99))


# Time and status


def _made_after_the_payment(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, created_at=s.at + s.hours(0.1, 60))
    s.pays("deal made after the payment", Answer.PERSON, buyer.emails[0])


def _old_deal(s: Scene) -> None:
    buyer = s.contact()
    last_touched = s.at - s.hours(31 * 24, 32 * 24)
    status_id = s.chance.choice((NEW, LOST))
    changes: dict[str, Any] = {
        "created_at": last_touched - s.hours(0, 400 * 24),
        "updated_at": last_touched,
        "closed_at": last_touched,
    }
    s.deal(buyer, status_id=status_id, **changes)
    s.pays("old deal", Answer.SELF_SERVE, buyer.emails[0])


def _old_deal_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, created_at=s.at - s.hours(32 * 24, 400 * 24))
    s.pays("old deal beside an open one", s.deal(buyer), buyer.emails[0])


def _old_but_worked_on(s: Scene) -> None:
    buyer = s.contact()
    lead_id = s.deal(buyer, created_at=s.at - s.hours(40 * 24, 400 * 24), updated_at=s.at - s.hours(0, 29 * 24))
    s.pays("old deal, still worked on", lead_id, buyer.emails[0])


def _lost(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=LOST)
    s.pays("lost deal", Answer.PERSON, buyer.emails[0])


def _lost_long_ago_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=LOST, closed_at=s.at - s.hours(24, 600))
    s.pays("lost deal beside an open one", s.deal(buyer), buyer.emails[0])


def _won_by_hand(s: Scene) -> None:
    buyer = s.contact()
    s.pays("won by hand", s.deal(buyer, status_id=WON), buyer.emails[0])


def _won_before(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=WON, closed_at=s.at - s.hours(25, 600))
    s.pays("won long before", Answer.SELF_SERVE, buyer.emails[0])


def _won_before_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=WON, closed_at=s.at - s.hours(25, 600))
    s.pays("won long before beside an open one", s.deal(buyer), buyer.emails[0])


def _won_by_a_later_payment(s: Scene) -> None:
    """The history of an account: the same plan bought again, and only the second sale has a deal."""
    buyer, later = s.contact(), s.at + s.hours(40 * 24, 45 * 24) - timedelta(days=60)
    earlier = later - timedelta(days=40)
    made = later - s.hours(1, 48)
    lead_id = s.deal(buyer, status_id=WON, created_at=made, updated_at=made, closed_at=later + s.hours(0, 20))
    s.pays("bought once before", Answer.SELF_SERVE, buyer.emails[0], created_at=earlier)
    s.pays("won by a later payment", lead_id, buyer.emails[0], created_at=later)


def _two_won_by_hand(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=WON)
    s.deal(buyer, status_id=WON)
    s.pays("two won by hand", Answer.PERSON, buyer.emails[0])


def _won_by_hand_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    s.deal(buyer, status_id=WON)
    s.pays("won by hand beside an open one", Answer.PERSON, buyer.emails[0])


def _two_won_two_prices(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, status_id=WON, price=s.price + s.chance.randint(1, 200))
    s.pays("two won by hand, two prices", s.deal(buyer, status_id=WON), buyer.emails[0])


# Pipelines, fields, links, deletions


def _unwatched(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, pipeline_id=PARTNERS)
    s.pays("unwatched pipeline", Answer.SELF_SERVE, buyer.emails[0])


def _unwatched_beside_watched(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, pipeline_id=PARTNERS)
    s.pays("unwatched beside a watched deal", s.deal(buyer), buyer.emails[0])


def _deleted(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, is_deleted=True)
    s.pays("deleted deal, never linked", Answer.SELF_SERVE, buyer.emails[0])


def _deleted_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer, is_deleted=True)
    s.pays("deleted deal beside an open one", s.deal(buyer), buyer.emails[0])


def _linked_deal_deleted(s: Scene) -> None:
    buyer = s.contact()
    s.link(s.pays("linked deal deleted", Answer.PERSON, buyer.emails[0]), s.deal(buyer, is_deleted=True))


def _linked_deal_deleted_beside_an_open_one(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    order_id = s.pays("linked deal deleted, another is open", Answer.PERSON, buyer.emails[0])
    s.link(order_id, s.deal(buyer, is_deleted=True))


def _named_by_field(s: Scene) -> None:
    """The field outweighs the e-mail, the amount and the pipeline."""
    buyer, order_id = s.contact(), str(s.account.new_id())
    s.deal(buyer)
    pipeline_id = s.chance.choice((PARTNERS, policy().home.pipeline_id))
    lead_id = s.deal(s.contact(), pipeline_id=pipeline_id, price=s.price + 1, fields={"order_id": order_id})
    s.pays("order id in the deal's field", lead_id, buyer.emails[0], by=Tier.FIELD, order_id=order_id)


def _named_by_two_fields(s: Scene) -> None:
    buyer, order_id = s.contact(), str(s.account.new_id())
    s.deal(buyer, fields={"order_id": order_id})
    s.deal(buyer, fields={"order_id": order_id})
    s.pays("order id in two fields", Answer.PERSON, buyer.emails[0], order_id=order_id)


def _named_by_a_deleted_deal(s: Scene) -> None:
    buyer, order_id = s.contact(), str(s.account.new_id())
    s.deal(buyer, is_deleted=True, fields={"order_id": order_id})
    s.pays("order id in a deleted deal's field", s.deal(buyer), buyer.emails[0], order_id=order_id)


def _held_by_anothers_field(s: Scene) -> None:
    buyer, payer, order_id = s.contact(), s.contact(), str(s.account.new_id())
    lead_id = s.deal(buyer, fields={"order_id": order_id})
    s.pays("order id in the deal's field", lead_id, payer.emails[0], by=Tier.FIELD, order_id=order_id)
    changes: dict[str, Any] = {"variant_id": OTHER_VARIANT, "created_at": s.at + s.hours(-1, 48)}
    s.pays("the deal is another order's", Answer.SELF_SERVE, buyer.emails[0], **changes)


def _stored_link(s: Scene) -> None:
    buyer = s.contact()
    s.deal(buyer)
    lead_id = s.deal(s.contact())
    s.link(s.pays("stored link", lead_id, buyer.emails[0], by=Tier.LEDGER), lead_id)


SCENES: Sequence[Callable[[Scene], None]] = (
    _one_open_deal, _capitals_and_blanks, _cents_above_the_price, _partly_refunded, _typo, _second_address,
    _unknown_address, _colleagues_address,
    _two_open_deals, _two_open_deals_two_prices, _both_of_two_open_deals, _shared_mailbox, _shared_mailbox_one_deal,
    _own_address_beside_a_shared_mailbox, _bookkeeper, _two_contacts_of_one_deal, _look_alikes,
    _twice, _twice_in_two_runs, _stranger_twice, _another_product, _nobody, _contact_without_deal,
    _another_currency, _another_amount, _high_amount, _highest_automatic_amount,
    _made_after_the_payment, _old_deal, _old_deal_beside_an_open_one, _old_but_worked_on, _lost,
    _lost_long_ago_beside_an_open_one, _won_by_hand, _won_before, _won_before_beside_an_open_one, _two_won_by_hand,
    _two_won_two_prices, _won_by_hand_beside_an_open_one, _deal_without_a_price, _shared_mailbox_then_own_address,
    _unwatched, _unwatched_beside_watched, _deleted, _deleted_beside_an_open_one, _linked_deal_deleted,
    _linked_deal_deleted_beside_an_open_one, _named_by_field, _named_by_two_fields, _named_by_a_deleted_deal,
    _held_by_anothers_field, _stored_link, _won_by_a_later_payment,
)  # fmt: skip
