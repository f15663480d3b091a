"""Every note and task in every language, word by word: `tests/golden/texts.<language>.txt` is what people read.

A changed text is looked at and written anew with: UPDATE_GOLDEN=1 pytest tests/unit/core/test_texts.py
"""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dealsync.config import TextsSection
from dealsync.core.deadlines import Deadline
from dealsync.core.models import Money
from dealsync.core.texts import Texts, fault_of, invoice_values, order_values, reference, subscription_values, words
from dealsync.errors import ConfigError
from tests.builders import NOW, invoice, order, subscription

GOLDEN = Path(__file__).parents[2] / "golden"
LOCALES = {"en": "en_US", "de": "de_DE"}


def values() -> dict[str, object]:
    """Return everything that the rules tell a text, for one sale."""
    sold = order(refunded=2500, total=49050)
    kept = subscription(quantity=5, renews_at=NOW + timedelta(days=30), ends_at=NOW + timedelta(days=30))
    kept = replace(kept, trial_ends_at=NOW + timedelta(days=7), resumes_at=NOW + timedelta(days=60))
    more = {
        "asked": Money(50000, "USD"), "other": "16", "reason": "two deals fit", "deals": "31, 32", "since": NOW,
        "old": "Pro, 2 seats", "new": "Team, 5 seats", "price": Money(50000, "USD"),
        "expires": NOW + timedelta(days=14), "words": "422 The variant is a draft",
        "url": "https://acme.lemonsqueezy.com/checkout/custom/17?signature=5",
        "email": "ann@", "quantity": "many", "store_currency": "EUR", "account_currency": "USD", "lead_id": 31,
        "name": "Ann Example", "company": "Acme", "text": "Paid: $490.00.", "run": "20261128-120000-7f3a9c",
    }  # fmt: skip
    return {**order_values(sold), **subscription_values(kept), **more} | {"amount": invoice_values(invoice())["amount"]}


@pytest.mark.parametrize("language", sorted(LOCALES))
def test_texts__read_as_agreed(language: str) -> None:
    texts = Texts(language, LOCALES[language], "America/New_York")
    written = {name: texts.render(name, f"key:{name}", values()) for name in sorted(words(language))}
    lines = [f"{name}: {text}".replace("\n", " / ") for name, text in written.items()]
    golden = GOLDEN / f"texts.{language}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == golden.read_text(encoding="utf-8").splitlines()
    assert all(
        line.endswith(reference(f"key:{name}")) for line, name in zip(lines, sorted(words(language)), strict=True)
    )


def test_texts__amounts_are_in_the_orders_currency_and_the_accounts_locale() -> None:
    german = Texts("de", "de_DE")
    assert german.plain("paid", order_values(order(total=49000, currency="EUR"))).startswith("Bezahlt: 490,00\xa0€ für")
    assert "¥49,000" in Texts().plain("paid", order_values(order(total=49000, currency="JPY")))


def test_texts__of_the_accounts_own_replace_ours_and_keep_the_reference(tmp_path: Path) -> None:
    own = tmp_path / "words.toml"
    own.write_text('paid = "Money is in: {{ amount }}!"\n')
    texts = Texts(overrides=TextsSection(file=str(own)).overrides())
    assert texts.render("paid", "order:17:note:paid", order_values(order())) == (
        f"Money is in: $490.00! {reference('order:17:note:paid')}"
    )
    assert texts.plain("payment_failed", order_values(order())) == Texts().plain(
        "payment_failed", order_values(order())
    )


@pytest.mark.parametrize(
    ("text", "words_of_it"),
    [
        ('payed = "x"', "payed is no text of dealsync"),
        ('paid = "{{ amount"', "paid cannot be used"),
        ('paid = "{{ card_number }}"', "paid cannot be used: 'card_number' is undefined"),
        ("paid = 5", "paid is no text"),
        ("paid = \"{{ ''.__class__.__mro__ }}\"", "paid cannot be used"),
        ("paid = ", "cannot be read"),
    ],
)
def test_texts__that_cannot_be_used_are_refused_by_name(tmp_path: Path, text: str, words_of_it: str) -> None:
    own = tmp_path / "words.toml"
    own.write_text(text)
    with pytest.raises(ConfigError, match=r"words\.toml") as refused:
        TextsSection(file=str(own)).overrides()
    assert words_of_it in str(refused.value)


def test_texts__a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"There is no nowhere\.toml"):
        TextsSection(file="nowhere.toml").overrides()
    assert TextsSection().overrides() == {}


@pytest.mark.parametrize("language", sorted(LOCALES))
def test_texts__that_are_built_in_would_pass_as_the_accounts_own(language: str) -> None:
    assert {name: fault for name, text in words(language).items() if (fault := fault_of(name, text))} == {}


@pytest.mark.parametrize(
    ("days", "now", "due"),
    [
        (1, "2026-06-01T12:00:00+00:00", "2026-06-02T22:00:00+00:00"),  # Monday -> Tuesday, 18:00 in New York
        (1, "2026-06-05T12:00:00+00:00", "2026-06-08T22:00:00+00:00"),  # Friday -> Monday
        (0, "2026-06-06T12:00:00+00:00", "2026-06-08T22:00:00+00:00"),  # Saturday -> Monday
        (0, "2026-06-01T23:00:00+00:00", "2026-06-02T00:00:00+00:00"),  # today, but 18:00 is over
        (5, "2026-06-01T02:00:00+00:00", "2026-06-05T22:00:00+00:00"),  # still Sunday there
        (1, "2026-11-01T12:00:00+00:00", "2026-11-02T23:00:00+00:00"),  # the clocks went back
    ],
)
def test_deadline__counts_working_days_of_the_account(days: int, now: str, due: str) -> None:
    moment = NOW.fromisoformat(now)
    assert Deadline(days, 18, "America/New_York").after(moment) == NOW.fromisoformat(due)
