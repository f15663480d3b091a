import tomllib
from datetime import date
from pathlib import Path

import pytest

from dealsync.config import Config, parse_config
from dealsync.errors import ConfigError

KOMMO = '[kommo]\npipeline = "Sales"\ninvoice_status = "Invoice sent"\nattention_status = "Needs attention"\n'


def config(text: str = "") -> Config:
    return parse_config(tomllib.loads(KOMMO + text), Path("dealsync.toml"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config(text)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_config__three_keys_are_enough() -> None:
    plain = config()
    assert (plain.pipelines, plain.lemon_squeezy.stores, plain.products) == ([], [], [])
    assert (plain.owners.strategy, plain.owners.users, plain.owners.default) == ("round_robin", [], None)
    assert (plain.self_serve.tag, plain.self_serve.fields) == ("ls:self-serve", {})


def test_owners__users_are_ids_or_tables_with_a_weight() -> None:
    users = config("[owners]\nusers = [501, {id = 502}, {id = 503, weight = 100}]").owners.users
    assert [(user.id, user.weight) for user in users] == [(501, 1), (502, 1), (503, 100)]


def test_owners__zones_are_one_whatever_their_case() -> None:
    owners = config(
        '[owners]\nstrategy = "zone"\nzone_by = " region "\n[owners.zones]\nDE = [501]\n" Fr" = [502]'
    ).owners
    assert owners.zone_by == "region"
    assert {zone: [user.id for user in users] for zone, users in owners.zones.items()} == {"de": [501], "fr": [502]}


def test_owners__an_absence_may_be_a_single_day() -> None:
    [absence] = config("[[owners.absences]]\nuser = 501\nfirst = 2026-06-01\nlast = 2026-06-01").owners.absences
    assert (absence.user, absence.first, absence.last) == (501, date(2026, 6, 1), date(2026, 6, 1))


def test_config__lemon_squeezy_ids_may_be_numbers_or_text() -> None:
    read = config(
        '[lemon_squeezy]\nstores = [4102, " 4103 "]\n[[products]]\nvariant = 31\n[[products]]\nproduct = "21"'
    )
    assert read.lemon_squeezy.stores == ["4102", "4103"]
    assert [(product.variant, product.product) for product in read.products] == [("31", ""), ("", "21")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[owners]\nstrategy = "by_name"', ["owners.strategy", "round_robin"]),
        ('[owners]\nusers = ["ann"]', ["owners.users.0.id"]),
        ("[owners]\nusers = [501, {id = 502, weight = 0}]", ["owners.users.1.weight"]),
        ("[owners]\nusers = [{id = 502, weight = 101}]", ["owners.users.0.weight"]),
        ("[owners]\nusers = [501, {id = 501, weight = 2}]", ["owners.users", "501 twice"]),
        ("[owners]\nusers = [{user = 501}]", ["owners.users.0.id"]),
        ("[owners]\nusers = [-1]", ["owners.users.0.id"]),
        ('[owners]\nstrategy = "zone"', ["owners", "needs [owners.zones]"]),
        ("[owners.zones]\nDE = [501]\nde = [502]", ["owners.zones", "two spellings"]),
        ('[owners.zones]\n" " = [501]', ["owners.zones", "empty"]),
        ("[owners.zones]\nde = [502, 502]", ["owners.zones.de", "502 twice"]),
        ('[owners]\nzone_by = " "', ["owners.zone_by"]),
        (
            "[[owners.absences]]\nuser = 501\nfirst = 2026-06-02\nlast = 2026-06-01",
            ["owners.absences.0", "2026-06-01 is before first = 2026-06-02"],
        ),
        ("[[owners.absences]]\nuser = 501\nfirst = 2026-06-02", ["owners.absences.0.last"]),
        ('[lemon_squeezy]\nstores = ["My shop"]', ["lemon_squeezy.stores.0", "is not an id"]),
        ("[lemon_squeezy]\nstores = [true]", ["lemon_squeezy.stores.0"]),
        ('[[pipelines]]\npipeline = "Partners"', ["pipelines.0.invoice_status", "pipelines.0.attention_status"]),
        ('[[products]]\ntag = "pro"', ["products.0", "store, product, variant"]),
        ('[[products]]\nvariant = "Yearly"', ["products.0.variant", "is not an id"]),
        ('[[products]]\nvariant = 31\nattention_status = "X"', ["products.0", "pipeline"]),
        ('[[products]]\nvariant = 31\nname = "{{ produkt }}"', ["products.0.name", "produkt", "product"]),
        ('[[products]]\nvariant = 31\n[[products]]\nvariant = 32\nname = "{{"', ["products.1.name"]),
        ('[[products]]\nvariant = 31\nname = "{{ number.__class__ }}"', ["products.0.name", "unsafe"]),
        ('[self_serve]\ntag = " "', ["self_serve.tag"]),
        ('[self_serve]\nfield = "x"', ["self_serve.field"]),
    ],
)
def test_config__what_is_wrong_is_named_on_one_line(text: str, words: list[str]) -> None:
    line = refusal(text)
    assert [word for word in ["dealsync.toml", *words] if word not in line] == []
