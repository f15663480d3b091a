"""Includes, related resources and relationships of the Lemon Squeezy API."""

from typing import Any

import pytest

from dealsync.simulator.lemonsqueezy.catalogue import TYPES
from dealsync.simulator.table import Table
from tests.unit.simulator.bench import Bench


def subscribed(bench: Bench) -> Any:
    return bench.lemon_squeezy.get("/subscriptions?page[size]=1").json()["data"][0]


def test_include__brings_each_resource_once_and_names_it_in_the_relationship(past: Bench) -> None:
    body = past.lemon_squeezy.get("/orders?include=store,customer&page[size]=20").json()
    assert list(body) == ["meta", "jsonapi", "links", "data", "included"]
    brought = {(one["type"], one["id"]) for one in body["included"]}
    assert len(brought) == len(body["included"])
    named = {
        (order["relationships"][name]["data"]["type"], order["relationships"][name]["data"]["id"])
        for order in body["data"]
        for name in ("store", "customer")
    }
    assert named == brought
    assert all("data" not in order["relationships"]["order-items"] for order in body["data"])
    assert "include=store%2Ccustomer&page" in body["links"]["first"]


def test_include__works_on_one_resource_and_for_many(past: Bench) -> None:
    mine = subscribed(past)
    names = "order,subscription-items,subscription-invoices"
    body = past.lemon_squeezy.get(f"/subscriptions/{mine['id']}?include={names}").json()
    kinds = [one["type"] for one in body["included"]]
    assert kinds.count("orders") == kinds.count("subscription-items") == 1
    assert isinstance(body["data"]["relationships"]["subscription-invoices"]["data"], list)


def test_include__is_refused_for_an_unknown_name_but_may_be_empty(past: Bench) -> None:
    answer = past.lemon_squeezy.get("/orders?include=cheese")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["title"] == "Invalid Query Parameter"
    assert "included" not in past.lemon_squeezy.get("/orders?include=").json()


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_type__serves_its_list_its_objects_and_every_link_of_theirs(past: Bench, kind: str) -> None:
    body = past.lemon_squeezy.get(f"/{kind}").json()
    assert f"sort={TYPES[kind].sort}" in body["links"]["first"]
    for name in TYPES[kind].filters:
        assert past.lemon_squeezy.get(f"/{kind}", params={f"filter[{name}]": "0"}).json()["data"] == []
    assert past.lemon_squeezy.get(f"/{kind}?filter[nonsense]=1").status_code == 400
    for one in body["data"][:1]:
        assert past.lemon_squeezy.get(f"/{kind}/{one['id']}").json()["data"]["id"] == one["id"]
        for name, relation in one["relationships"].items():
            related = past.lemon_squeezy.get(relation["links"]["related"]).json()["data"]
            linked = past.lemon_squeezy.get(relation["links"]["self"]).json()["data"]
            rows, ends = [related, linked] if isinstance(related, list) else [[related], [linked]]
            expected = [{"type": row["type"], "id": row["id"]} for row in rows]
            assert ends[: len(expected)] == expected, name
    assert past.lemon_squeezy.get(f"/{kind}/1").status_code == 404
    assert past.lemon_squeezy.get(f"/{kind}/1/store").status_code == 404


def test_related__to_many_is_a_page_of_its_own(past: Bench) -> None:
    body = past.lemon_squeezy.get("/stores/4101/orders?page[size]=7&page[number]=2").json()
    assert len(body["data"]) == 7
    assert body["meta"]["page"]["total"] == 120
    assert body["links"]["prev"].startswith("http://test/lemonsqueezy/v1/stores/4101/orders?page%5Bnumber%5D=1")


def test_related__of_an_unknown_name_is_404(past: Bench) -> None:
    assert past.lemon_squeezy.get("/stores/4101/cheese").status_code == 404
    assert past.lemon_squeezy.get("/stores/4101/relationships/cheese").status_code == 404


def test_variant__has_a_price_and_a_plan_its_interval(past: Bench) -> None:
    for variant in past.lemon_squeezy.get("/variants").json()["data"]:
        price = past.lemon_squeezy.get(f"/variants/{variant['id']}/price-model").json()["data"]["attributes"]
        assert price["unit_price"] == variant["attributes"]["price"]
        assert price["renewal_interval_unit"] == variant["attributes"]["interval"]


def test_page__fetches_only_its_own_rows(past: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "/orders?page[size]=5&page[number]={}&filter[store_id]=4101"
    past.set(test_mode_visible=False)
    past.lemon_squeezy.get(url.format(1))
    fetched: list[int] = []
    real = Table.get

    def counted(table: Table, record_id: int) -> Any:
        fetched.append(record_id)
        return real(table, record_id)

    monkeypatch.setattr(Table, "get", counted)
    assert len(past.lemon_squeezy.get(url.format(2)).json()["data"]) == 5
    past.set(test_mode_visible=True)
    assert len(fetched) == 5


def test_signed_links__are_built_anew_for_each_answer(fresh: Bench) -> None:
    order = fresh.lemon_squeezy.get("/orders").json()["data"][0]
    before = order["attributes"]["urls"]["receipt"]
    fresh.world.advance(3600)
    after = fresh.lemon_squeezy.get(f"/orders/{order['id']}").json()["data"]["attributes"]["urls"]["receipt"]
    assert before != after
    assert before.split("?")[0] == after.split("?")[0]


def test_older_captures__lack_what_came_later(fresh: Bench) -> None:
    fresh.set(ls_older_captures=True)
    order = fresh.lemon_squeezy.get("/orders").json()["data"][0]["attributes"]
    assert "total" in order
    assert not {"refunded_amount", "setup_fee", "setup_fee_usd", "tax_inclusive"} & set(order)


def test_mode__hides_objects_by_id_and_as_related(fresh: Bench) -> None:
    order = fresh.control.post("/orders", json={"email": "t@b.example", "test_mode": True}).json()["data"]
    assert fresh.lemon_squeezy.get(f"/orders/{order['id']}").status_code == 200
    fresh.set(test_mode_visible=False)
    assert fresh.lemon_squeezy.get(f"/orders/{order['id']}").status_code == 404
    assert fresh.lemon_squeezy.get("/stores/4101/orders").json()["meta"]["page"]["total"] == 10
