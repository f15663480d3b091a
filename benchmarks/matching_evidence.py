"""Scenes of the tiers that rest on what somebody told: webhooks, fields, claims, checkouts; and of lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from benchmarks.matching_scene import Answer, Scene
from dealsync.core.models import Tier
from tests.builders import INVOICE_SENT, LOST, NEW, PARTNERS, SALES, STORE, WON

CHECKOUT_VARIANTS = ("41", "42", "43")
"""What these scenes sell: an unpaid checkout keeps others who buy the same for the same from a deal of their own."""
OTHER_PRODUCT, QUIET_VARIANT, ASKED_VARIANT = "49", "51", "61"
LIES = ("abc", "", " ", "12 34", "1" + "0" * 30, "-7", "0", "3.0", "null", "ann@example.com")
BEYOND_EVIDENCE = frozenset({"checkout, changed e-mail and product"})
"""A buyer who types another address and picks another product is a stranger."""


def _receipt(s: Scene) -> str:
    return str(UUID(int=s.chance.getrandbits(128), version=4))


# Webhooks


def _explicit(s: Scene) -> None:
    """The webhook outweighs e-mail, amount, status and pipeline."""
    buyer = s.contact()
    s.deal(buyer)
    status_id = s.chance.choice((WON, LOST, s.chance.choice((NEW, INVOICE_SENT))))
    pipeline_id = s.chance.choice((PARTNERS, SALES))
    lead_id = s.deal(s.contact(), price=s.price + 7, status_id=status_id, pipeline_id=pipeline_id)
    order_id = s.pays("webhook of the order", lead_id, buyer.emails[0], by=Tier.EXPLICIT)
    s.webhook(lead_id, order_id)
    s.webhook(lead_id, order_id)


def _explicit_by_subscription(s: Scene) -> None:
    lead_id = s.deal(s.contact())
    order_id = s.pays("webhook of the subscription", lead_id, s.email(), by=Tier.EXPLICIT)
    s.webhook(lead_id, None, s.subscription(order_id))


def _explicit_twice(s: Scene) -> None:
    buyer = s.contact()
    first, second = s.deal(buyer), s.deal(s.contact())
    order_id = s.pays("webhooks name two deals", Answer.PERSON, buyer.emails[0])
    s.webhook(first, order_id)
    s.webhook(second, order_id)


def _explicit_merged(s: Scene) -> None:
    survivor, between, gone = s.deal(s.contact()), s.account.new_id(), s.deal(s.contact(), is_deleted=True)
    s.account.merges += [(gone, between), (between, survivor)]
    order_id = s.pays("webhook names a merged deal", survivor, s.email(), by=Tier.EXPLICIT)
    s.webhook(gone, order_id)


def _lie(s: Scene) -> None:
    buyer = s.contact()
    deleted = s.deal(s.contact(), is_deleted=True)
    lie = s.chance.choice((*LIES, str(deleted), str(s.account.new_id())))
    order_id = s.pays("webhook lies, e-mail is right", s.deal(buyer), buyer.emails[0])
    s.webhook(lie, order_id)


def _lie_and_nobody(s: Scene) -> None:
    order_id = s.pays("webhook lies, nobody known", Answer.SELF_SERVE, s.email(), variant_id=QUIET_VARIANT)
    s.webhook(s.chance.choice(LIES), order_id)


def _late_contradiction(s: Scene) -> None:
    buyer = s.contact()
    linked, named = s.deal(buyer, status_id=WON), s.deal(s.contact())
    order_id = s.pays("late webhook contradicts a link", Answer.PERSON, buyer.emails[0])
    s.link(order_id, linked)
    s.webhook(named, order_id)


# Fields


def _subscription_in_the_field(s: Scene) -> None:
    order_id = str(s.account.new_id())
    subscription_id = s.subscription(order_id)
    lead_id = s.deal(s.contact(), price=s.price + 3, fields={"subscription_id": f" {subscription_id}"})
    s.pays("subscription id in the field", lead_id, s.email(), by=Tier.FIELD, order_id=order_id)


def _typed_by_hand(s: Scene) -> None:
    order_id = str(s.account.new_id())
    lead_id = s.deal(
        s.contact(), price=s.price + 3, fields={"order_id": s.chance.choice((f"#{order_id}", f" {order_id}\n"))}
    )
    s.pays("order id typed by hand", lead_id, s.email(), by=Tier.FIELD, order_id=order_id)


def _garbage_in_the_field(s: Scene) -> None:
    buyer = s.contact()
    lead_id = s.deal(buyer, fields={"order_id": s.chance.choice(("paid", "?", str(s.account.new_id())))})
    s.pays("garbage in the field", lead_id, buyer.emails[0])


# Claims


def _claim(s: Scene) -> None:
    receipt, lead_id = _receipt(s), s.deal(s.contact(), price=s.price + 9)
    order_id = s.pays("claim link", lead_id, s.email(), by=Tier.CLAIM, identifier=receipt)
    s.claim(lead_id, order_id, receipt)


def _claim_that_does_not_fit(s: Scene) -> None:
    """Somebody visits a deal's claim link with the order of another buyer."""
    buyer, receipt, other = s.contact(), _receipt(s), s.deal(s.contact())
    wrong = s.chance.choice(
        (
            {"identifier": _receipt(s)},
            {"variant_id": OTHER_PRODUCT},
            {"issued_at": s.at + timedelta(hours=1)},
        )
    )
    order_id = s.pays("claim of another's order", s.deal(buyer), buyer.emails[0], identifier=receipt)
    s.claim(other, order_id, receipt, **wrong)


# Checkouts


def _checkout(s: Scene) -> None:
    """Two companies of one group have a checkout each; the price may be the checkout's own, or anything."""
    email, domain = s.email(), f"group{s.account.new_id()}.example"
    twin = f"info@{domain}"
    lead_id = s.deal(s.contact(f"billing@{domain}"), price=s.chance.choice((s.price, s.price + 11)))
    s.checkout(lead_id, email, custom_price=s.chance.choice((None, s.price * 100)))
    s.checkout(s.deal(s.contact(twin)), twin)
    s.pays("checkout", lead_id, email, by=Tier.CHECKOUT)


def _checkout_taxed(s: Scene) -> None:
    email, lead_id = s.email(), s.deal(s.contact())
    s.checkout(lead_id, email, custom_price=s.price * 100)
    money = {"total": s.price * 119, "subtotal_minor": s.price * 100, "tax_minor": s.price * 19}
    s.pays("checkout, tax on top", lead_id, email, by=Tier.CHECKOUT, **money)


def _checkouts_of_one_person(s: Scene) -> None:
    buyer = s.contact()
    for _ in range(2):
        s.checkout(s.deal(buyer), buyer.emails[0])
    s.pays("checkouts of two deals, one mailbox", Answer.PERSON, buyer.emails[0])


def _checkouts_of_two_products(s: Scene) -> None:
    buyer = s.contact()
    first, second = s.deal(buyer), s.deal(buyer)
    s.checkout(first, buyer.emails[0])
    s.checkout(second, buyer.emails[0], variant_id=OTHER_PRODUCT)
    s.pays("checkouts of two products", first, buyer.emails[0], by=Tier.CHECKOUT)
    s.pays("checkouts of two products", second, buyer.emails[0], by=Tier.CHECKOUT, variant_id=OTHER_PRODUCT)


def _checkout_twice(s: Scene) -> None:
    email, lead_id = s.email(), s.deal(s.contact())
    s.checkout(lead_id, email)
    s.pays("checkout paid twice: first", lead_id, email, by=Tier.CHECKOUT)
    s.pays("checkout paid twice: again", Answer.PERSON, email, created_at=s.at + s.hours(1, 48))


def _checkout_under_another_address(s: Scene) -> None:
    buyer = s.contact()
    own_price = s.chance.choice((None, s.price * 100))
    s.checkout(s.deal(buyer), buyer.emails[0], custom_price=own_price)
    s.pays("checkout, changed e-mail", Answer.PERSON, s.email())


def _checkout_under_another_address_and_product(s: Scene) -> None:
    buyer = s.contact()
    lead_id = s.deal(buyer, price=s.price + 40)
    s.checkout(lead_id, buyer.emails[0])
    s.pays("checkout, changed e-mail and product", lead_id, s.email(), by=None, variant_id=QUIET_VARIANT)


def _two_checkouts_one_paid(s: Scene) -> None:
    """Both deals of one mailbox wait; a webhook places one payment. The other may be for either."""
    buyer = s.contact()
    first, second = s.deal(buyer), s.deal(buyer)
    for lead_id in (first, second):
        s.checkout(lead_id, buyer.emails[0])
    s.webhook(first, s.pays("two checkouts: by webhook", first, buyer.emails[0], by=Tier.EXPLICIT))
    later = s.at + s.hours(0, 48)
    s.pays("two checkouts: the other payment", Answer.PERSON, buyer.emails[0], created_at=later)


def _old_link_paid_after_the_new_one(s: Scene) -> None:
    buyer = s.contact()
    lead_id = s.deal(buyer)
    s.checkout(lead_id, buyer.emails[0])
    s.checkout(lead_id, buyer.emails[0], variant_id=OTHER_PRODUCT)
    s.pays("new link of a deal", lead_id, buyer.emails[0], by=Tier.CHECKOUT, variant_id=OTHER_PRODUCT)
    s.pays("old link, paid after the new one", Answer.PERSON, buyer.emails[0], created_at=s.at + s.hours(1, 48))


def _claim_after_the_fact(s: Scene) -> None:
    """The payment was counted on another deal before the buyer came back."""
    receipt, linked, right = _receipt(s), s.deal(s.contact(), status_id=WON), s.deal(s.contact())
    order_id = s.pays("late claim contradicts a link", Answer.PERSON, s.email(), identifier=receipt)
    s.link(order_id, linked)
    s.claim(right, order_id, receipt)


def _stranger_beside_a_checkout(s: Scene) -> None:
    """Somebody buys by himself what another company has an unpaid checkout for: it might have been that company."""
    s.checkout(s.deal(s.contact(), price=s.price + 300), s.email(), variant_id=ASKED_VARIANT)
    s.pays("stranger beside an unpaid checkout", Answer.PERSON, s.email(), variant_id=ASKED_VARIANT)


def _checkout_that_was_not_open(s: Scene) -> None:
    """It had expired, was opened later, is of another store, mode, variant or price: the e-mail decides."""
    buyer, other = s.contact(), s.contact()
    wrong = s.chance.choice(
        (
            {"expires_at": s.at - timedelta(hours=1)},
            {"created_at": s.at + timedelta(hours=1)},
            {"store_id": f"{STORE}9"},
            {"test_mode": True},
            {"variant_id": OTHER_PRODUCT},
            {"custom_price": s.price * 100 + 1},
        )
    )
    s.checkout(s.deal(other, price=s.price + 5), buyer.emails[0], **wrong)
    s.pays("checkout that was not open", s.deal(buyer), buyer.emails[0])


def _checkout_that_lies(s: Scene) -> None:
    buyer = s.contact()
    s.checkout(s.chance.choice(LIES), buyer.emails[0])
    s.pays("checkout names no deal", s.deal(buyer), buyer.emails[0])


def _receiver_off(s: Scene) -> None:
    """Payments of issued checkouts without any webhook: as meant, from a shared mailbox, under another address."""
    mailbox = s.email()
    for way in ("as meant", "shared", "shared", "changed"):
        buyer = s.contact(mailbox if way == "shared" else s.email())
        lead_id = s.deal(buyer)
        s.checkout(lead_id, buyer.emails[0])
        meant = way == "as meant"
        email = s.email() if way == "changed" else buyer.emails[0]
        s.pays(f"receiver off, {way}", lead_id if meant else Answer.PERSON, email, by=Tier.CHECKOUT)


EVIDENCE_SCENES: Sequence[Callable[[Scene], None]] = (
    _explicit, _explicit_by_subscription, _explicit_twice, _explicit_merged, _lie, _lie_and_nobody, _late_contradiction,
    _subscription_in_the_field, _typed_by_hand, _garbage_in_the_field,
    _claim, _claim_that_does_not_fit,
    _checkout, _checkout_taxed, _checkouts_of_one_person, _checkouts_of_two_products, _checkout_twice,
    _checkout_under_another_address, _checkout_under_another_address_and_product, _checkout_that_was_not_open,
    _checkout_that_lies, _receiver_off, _stranger_beside_a_checkout,
    _two_checkouts_one_paid, _old_link_paid_after_the_new_one, _claim_after_the_fact,
)  # fmt: skip
