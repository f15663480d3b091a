"""The link of a live checkout -> the deal's field, a note, and e-mails to the client; and what became of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dealsync.core.conflicts import person_moved_it
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.letters import letter
from dealsync.core.models import Money
from dealsync.core.plan import CheckoutWish, DealChange, Kind, Note
from dealsync.core.policy import Reminder
from dealsync.core.waiting import Waiting

LINK_FIELD = "checkout_link"
LETTERS = ("email", "reminder")
"""Effects of a checkout that write to the client."""


def wish_of(mark: str) -> str:
    """Return what a checkout was asked for: one that took the place of an expired one asks for the same."""
    return mark.partition("-")[0]


def tell(one: Waiting, live: IssuedCheckout, wish: CheckoutWish) -> None:
    """See to it that the link is where people look, and that they are told of it once."""
    times = _put_link(one, live)
    if not one.is_news:
        return
    # A link that is put back after another one is told of again, so that the latest word is the right one.
    again = f":{times}" if times > 1 else ""
    note, mail = (f"checkout:{live.mark}:{what}{again}" for what in ("note", "email"))
    values = _values(one, live, wish)
    text = one.policy.texts.render(_words_for(one, live, times), one.key(note), values)
    one.act(note, Kind.NOTE, "the link of its checkout is not noted yet", Note(text))
    if _mails(one):
        _mail(one, mail, live, "mail_link", wish, values)
    if _reminds_now(one, live, mail if _mails(one) else note):
        _remind(one, live, wish, values)


def letters_that_came_back(one: Waiting) -> None:
    """A letter may come back when the deal has moved on: somebody has to know all the same."""
    for key, words in one.known.refused.items():
        mark, _, what = key.removeprefix(one.key("checkout:")).partition(":")
        if what.startswith(LETTERS):
            one.alarm("mail-failed", "the e-mail to the client did not arrive", mark=mark, words=words)


def _put_link(one: Waiting, live: IssuedCheckout) -> int:
    """See to it that the link stands in its field; return how often it was put there, this time included."""
    held, began = one.deal.fields.get(LINK_FIELD, ""), one.key("link:")
    steps = [key.removeprefix(began) for key in one.ground.states if key.startswith(began)]
    times = sum(step.partition(":")[2] == live.mark for step in steps)
    if held == live.url:
        return max(times, 1)
    if live.test_mode and any(c.url == held and not c.test_mode for c in one.known.checkouts):
        one.refuse("other_mode", "it holds the link of a checkout for real money; a trial leaves it", LINK_FIELD)
        return max(times, 1)
    if (why := person_moved_it(one.deal, LINK_FIELD, held)) is not None:
        one.refuse("person_moved_it", why, LINK_FIELD)
        return max(times, 1)
    # The same link may be put there again, after another one: the steps are counted.
    change = DealChange(fields={LINK_FIELD: live.url})
    effect = f"link:{len(steps) + 1}:{live.mark}"
    one.act(effect, Kind.FIELDS, "the link of its checkout is not in its LS field", change)
    return times + 1


def _values(one: Waiting, live: IssuedCheckout, wish: CheckoutWish) -> dict[str, Any]:
    price = wish.custom_price
    return {
        "url": live.url,
        "price": Money(price.minor * wish.quantity, price.currency) if price else "",
        "expires": one.policy.texts.moment(live.expires_at) if live.expires_at else "",
        "name": wish.name,
        "company": one.policy.checkout.company,
    }


def _words_for(one: Waiting, live: IssuedCheckout, times: int) -> str:
    earlier = [c for c in one.mine if c.created_at < live.created_at]
    if times == 1 and not earlier:
        return "checkout_link"
    same_wish = any(wish_of(c.mark) == wish_of(live.mark) for c in earlier)
    return "checkout_link_again" if same_wish or one.known.payments else "checkout_link_changed"


def _mails(one: Waiting) -> bool:
    """Whether clients are written to. Never in a trial: the addresses are those of real people."""
    return one.policy.checkout.mails and not one.policy.test_mode


def _mail(
    one: Waiting, effect: str, live: IssuedCheckout, template: str, wish: CheckoutWish, values: Mapping[str, Any]
) -> None:
    if (words := one.known.refused.get(one.key(effect))) is not None:
        one.alarm("mail-failed", "the e-mail to the client did not arrive", mark=live.mark, words=words)
        return
    content = letter(template, one.policy.texts, wish.email, wish.name, values, one.policy.checkout.html)
    one.act(effect, Kind.EMAIL, "the client has not got the link yet", content)


def _reminds_now(one: Waiting, live: IssuedCheckout, told: str) -> bool:
    """Whether the client had the link for long enough, as far as it is known, and has surely not paid."""
    after, last = one.policy.checkout.remind_after, one.known.told_at.get(one.key(told))
    if after is None or last is None:
        return False
    due_at = max(live.created_at, last, one.deal.entered_at or live.created_at) + after
    if one.ground.now < due_at:
        return False
    one.asks_since_when = one.deal.entered_at is None
    seen_at = one.payments_seen_at
    return not one.asks_since_when and seen_at is not None and seen_at >= due_at


def _remind(one: Waiting, live: IssuedCheckout, wish: CheckoutWish, values: Mapping[str, Any]) -> None:
    if one.policy.checkout.remind_by is Reminder.EMAIL and not one.policy.test_mode:
        _mail(one, f"checkout:{live.mark}:reminder", live, "mail_reminder", wish, values)
    else:
        one.alarm("unpaid", "its checkout is not paid", mark=live.mark, since=live.created_at)
