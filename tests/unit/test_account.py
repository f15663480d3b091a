import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dealsync.account import AccountView, resolve
from dealsync.apis.kommo.normalise import Account, CustomField, Pipeline, Status, User
from dealsync.config import parse_config
from dealsync.core.mapping import FIELDS
from dealsync.core.owners import Owners, RotaUser
from dealsync.core.policy import Funnel, Policy
from dealsync.core.products import ProductRule
from dealsync.errors import ConfigError
from dealsync.settings import Environment, Settings

KOMMO = '[kommo]\npipeline = "Sales"\ninvoice_status = "Invoice sent"\nattention_status = "Needs attention"\n'
PARTNERS = '[[pipelines]]\npipeline = "partners"\ninvoice_status = "Offer"\nattention_status = "Trouble"\n'
ENVIRONMENT = {
    "lemon_squeezy_api_key": "key",
    "lemon_squeezy_store_id": "4101",
    "kommo_domain": "acme.kommo.com",
    "kommo_token": "token",
    "dealsync_mode": "live",
}


def pipeline(pipeline_id: int, name: str, *statuses: str) -> Pipeline:
    """A pipeline whose statuses are numbered from ten times its own id."""
    numbered = (Status(pipeline_id * 10 + place, status, True) for place, status in enumerate(statuses, 1))
    return Pipeline(pipeline_id, name, False, tuple(numbered))


VIEW = AccountView(
    account=Account(1, "Acme", "acme", "USD"),
    pipelines=(
        pipeline(7001, "Sales", "New", "Invoice sent", "Needs attention"),
        pipeline(7002, "Partners", "Offer", "Trouble"),
        pipeline(7003, "Archive", "Old"),
    ),
    users=(User(501, "Ann", True), User(502, "Bob", True), User(503, "Eve", False)),
    fields=(
        *(CustomField(9000 + place, field.name, field.field_type) for place, field in enumerate(FIELDS)),
        CustomField(9101, "UTM source", "tracking_data"),
        CustomField(9102, "Plan", "text"),
        CustomField(9103, "Seats", "numeric"),
        CustomField(9104, "Region", "select"),
        CustomField(9105, "Comment", "textarea"),
        CustomField(9106, "Site", "url"),
        CustomField(9107, "Since", "date"),
    ),
)


def policy(text: str = "", view: AccountView = VIEW) -> Policy:
    config = parse_config(tomllib.loads(KOMMO + text), Path("dealsync.toml"))
    return resolve(Settings(Environment.model_validate(ENVIRONMENT), config), view).policy


def test_resolve__three_keys_watch_one_store_and_one_pipeline() -> None:
    plain = policy()
    assert plain.store_ids == {"4101"}
    assert plain.funnels == (Funnel(7001, 70012, 70013),)
    assert (plain.owners, plain.products, plain.custom_fields) == (Owners(), (), {})
    assert plain.self_serve_tag == "ls:self-serve"


def test_resolve__further_stores_and_pipelines_are_watched_too() -> None:
    found = policy('[lemon_squeezy]\nstores = [4102, "4101"]\n' + PARTNERS)
    assert found.store_ids == {"4101", "4102"}
    assert found.funnels == (Funnel(7001, 70012, 70013), Funnel(7002, 70021, 70022))
    assert found.home.pipeline_id == 7001


def test_resolve__users_keep_their_order_and_weight_and_inactive_ones_are_passed_over() -> None:
    found = policy("[owners]\nusers = [502, 503, {id = 501, weight = 3}]\ndefault = 502").owners
    assert found == Owners(users=(RotaUser(502), RotaUser(501, 3)), default=502)
    assert policy("[owners]\ndefault = 503").owners.default is None


def test_resolve__zones_and_absences_reach_every_rota() -> None:
    found = policy(
        '[owners]\nstrategy = "zone"\nusers = [501]\ndefault = 502\nzone_by = "currency"\n'
        "[owners.zones]\nEUR = [{id = 502, weight = 2}]\nGBP = [503]\n"
        "[[owners.absences]]\nuser = 502\nfirst = 2026-06-01\nlast = 2026-06-03\n"
        "[[owners.absences]]\nuser = 502\nfirst = 2026-08-01\nlast = 2026-08-01\n"
    ).owners
    away = ((date(2026, 6, 1), date(2026, 6, 3)), (date(2026, 8, 1), date(2026, 8, 1)))
    assert found == Owners(
        strategy="zone",
        users=(RotaUser(501),),
        default=502,
        zone_by="currency",
        zones={"eur": (RotaUser(502, 2, away),)},  # nobody of gbp is active
        default_absences=away,
    )


def test_resolve__products_name_pipelines_and_statuses_of_their_own() -> None:
    found = policy(
        PARTNERS + '[[products]]\nvariant = 31\npipeline = "Partners"\nattention_status = "offer"\ntag = " pro "\n'
        '[[products]]\nstore = 4101\nproduct = "21"\npipeline = 7001\nname = "{{ product }} for {{ buyer }}"\n'
    ).products
    assert found == (
        ProductRule(variant_id="31", pipeline_id=7002, attention_status_id=70021, tag="pro"),
        ProductRule(store_id="4101", product_id="21", pipeline_id=7001, name="{{ product }} for {{ buyer }}"),
    )


def test_resolve__custom_data_goes_into_fields_that_hold_free_text() -> None:
    found = policy(
        '[self_serve]\ntag = "shop"\n[self_serve.fields]\nutm_source = "utm SOURCE"\nplan = 9102\nseats = "Seats"\n'
        'words = "Comment"\nsite = "Site"\n'
    )
    assert found.custom_fields == {"utm_source": 9101, "plan": 9102, "seats": 9103, "words": 9105, "site": 9106}
    assert found.numeric_fields == {9103}
    assert found.self_serve_tag == "shop"


def test_resolve__a_pipeline_name_is_only_ambiguous_among_the_watched_ones() -> None:
    twin = replace(VIEW, pipelines=(*VIEW.pipelines, pipeline(7009, "Sales", "New")))
    text = '[kommo]\npipeline = 7001\ninvoice_status = "Invoice sent"\nattention_status = "Needs attention"\n'
    config = parse_config(
        tomllib.loads(text + '[[products]]\nvariant = 31\npipeline = "Sales"\n'), Path("dealsync.toml")
    )
    found = resolve(Settings(Environment.model_validate(ENVIRONMENT), config), twin).policy
    assert [rule.pipeline_id for rule in found.products] == [7001]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PARTNERS.replace("partners", "Nope"), ["pipelines.0.pipeline = 'Nope'", "Sales (7001)", "Partners (7002)"]),
        (PARTNERS.replace("Offer", "Nope"), ["pipelines.0.invoice_status = 'Nope'", "Trouble (70022)"]),
        (PARTNERS.replace("Trouble", "Nope"), ["pipelines.0.attention_status = 'Nope'", "Offer (70021)"]),
        (PARTNERS + PARTNERS, ["pipelines.1.pipeline = 'partners'", "already"]),
        (KOMMO.replace("[kommo]", "[[pipelines]]"), ["pipelines.0.pipeline = 'Sales'", "already"]),
        ("[owners]\nusers = [501, 999]", ["owners.users", "user 999", "501, 502"]),
        ("[owners]\ndefault = 999", ["owners.default", "user 999"]),
        ("[owners.zones]\nde = [999]", ["owners.zones.de", "user 999"]),
        (
            "[[owners.absences]]\nuser = 999\nfirst = 2026-06-01\nlast = 2026-06-02",
            ["owners.absences.0.user", "user 999"],
        ),
        ("[[products]]\nstore = 5", ["products.0.store = 5", "4101", "lemon_squeezy.stores"]),
        ('[[products]]\nvariant = 31\npipeline = "Partners"', ["products.0.pipeline = 'Partners'", "Sales (7001)"]),
        (
            '[[products]]\nvariant = 31\npipeline = "Sales"\nattention_status = "Trouble"',
            ["products.0.attention_status = 'Trouble'", "Needs attention (70013)"],
        ),
        ('[self_serve.fields]\nutm = "Nope"', ["self_serve.fields.utm = 'Nope'", "names no field", "Plan (9102)"]),
        ('[self_serve.fields]\nregion = "Region"', ["self_serve.fields.region", "type select", "Plan (9102)"]),
        ("[self_serve.fields]\nsince = 9107", ["self_serve.fields.since", "type date"]),
        ("[self_serve.fields]\nid = 9000", ["self_serve.fields.id = 9000", "fields.order_id"]),
        ('[self_serve.fields]\na = "Plan"\nb = 9102', ["self_serve.fields.b = 9102", "self_serve.fields.a"]),
    ],
)
def test_resolve__what_does_not_exist_is_named_beside_what_does(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        policy(text)
    line = str(refused.value)
    assert [word for word in ["dealsync.toml", *words] if word not in line] == []
    assert "\n" not in line
    assert not {"Ann", "Bob", "Eve"} & set(line.replace(",", " ").split())  # people are named by id alone
