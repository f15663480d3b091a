"""Which payments came through a link that another one had replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dealsync.core.evidence import CHECKOUT_KEY
from dealsync.core.plan import Plan
from dealsync.core.planner import make_plan
from tests.builders import NOW, WON, World, checkout, deal, order, policy, webhook

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
PAID_AT = NOW - timedelta(hours=5)


def link(mark: str, *, price: int, hours_ago: int, lead: int = 31) -> Any:
    return checkout(
        lead,
        checkout_id=f"{mark}-{lead}",
        url=f"https://store.example/{mark}",
        custom={CHECKOUT_KEY: mark},
        custom_price=price,
        created_at=NOW - timedelta(hours=hours_ago),
    )


OLD, NEW = link(A, price=49000, hours_ago=30), link(B, price=39000, hours_ago=20)


def is_flagged(world: World) -> bool:
    plan: Plan = make_plan(world.tables(), policy(), NOW)
    return any(action.key.endswith("flag:older-link") for action in plan.actions)


def world(*checkouts: Any, field: str, mark: str = "", total: int = 49000) -> World:
    """A deal with links, paid five hours ago; `mark` is what a webhook tells of the checkout."""
    one = deal(fields={"checkout_link": field} if field else {}, price=490)
    told = (webhook(31, custom={CHECKOUT_KEY: mark}),) if mark else (webhook(31),)
    sale = order(total=total, created_at=PAID_AT)
    return World((sale,), (one,), hints=told, checkouts=checkouts)


@pytest.mark.parametrize(
    ("field", "mark", "total", "flagged"),
    [
        (NEW.url, A, 49000, True),
        (NEW.url, B, 39000, False),
        (NEW.url, f"{B}-2", 39000, False),  # the same wish, after the first link for it had expired
        (NEW.url, "", 49000, True),  # no webhook told: only the old one was for that price
        (NEW.url, "", 39000, False),
        (OLD.url, A, 49000, False),  # what was asked for before is asked for again
        (OLD.url, B, 39000, True),
        ("", A, 49000, True),  # a person emptied the field: the newest link is in use
        ("https://acme.example/pay", A, 49000, True),
        (NEW.url, "cccccccccccc", 49000, False),  # of a deal that was merged into this one
    ],
)
def test_older_link__is_flagged_when_another_one_was_in_use(field: str, mark: str, total: int, flagged: bool) -> None:
    assert is_flagged(world(OLD, NEW, field=field, mark=mark, total=total)) is flagged


def test_older_link__one_that_was_replaced_after_the_payment_was_right_when_it_was_paid() -> None:
    late = replace(NEW, created_at=NOW - timedelta(hours=1))
    assert not is_flagged(world(OLD, late, field=late.url, mark=A))


def test_older_link__is_flagged_on_a_deal_that_is_won_already_too() -> None:
    found = world(OLD, NEW, field=NEW.url, mark=A)
    won = replace(found.deals[0], status_id=WON, closed_at=PAID_AT)
    assert is_flagged(replace(found, deals=(won,)))
