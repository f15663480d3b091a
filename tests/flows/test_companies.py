"""The company that a buyer names in the custom data: reused or made, once, and never in a sale's way."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from dealsync import apply, doubts
from dealsync.core.evidence import Event
from dealsync.core.plan import Kind
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.inbox import Arrival
from dealsync.settings import build_store, load_settings
from tests.accounts import Accounts

STORE = "4101"
LOST = ["apply_then_504", "apply_then_drop", "drop"]


@pytest.fixture(autouse=True)
def _short_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's unfiltered lists do not lag, so "absent" may count at once."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))


def bought(accounts: Accounts, email: str, company: str) -> str:
    """A payment of nobody whose webhook named a company."""
    order_id = str(accounts.control("orders", email=email, total=49000)["data"]["id"])
    told = {"company": company}
    event = Event(
        f"event-{order_id}", "order_created", "orders", order_id, order_id, None, STORE, test_mode=False, custom=told
    )
    build_store(load_settings().environment).inbox.keep([Arrival(event, b"{}", datetime.now(UTC))])
    return order_id


def names(accounts: Accounts) -> list[str]:
    return sorted(company["name"] for company in accounts.kommo()["companies"])


def linked(accounts: Accounts) -> list[list[int]]:
    """The companies of each deal, oldest deal first."""
    deals = sorted(accounts.kommo()["leads"], key=lambda lead: int(lead["id"]))
    return [[company["id"] for company in deal["_embedded"]["companies"]] for deal in deals]


def settle(accounts: Accounts) -> None:
    """Run until nothing is left, as the schedule would."""
    accounts.run()
    accounts.run().raise_if_failed()
    assert accounts.run(apply=False).plan.actions == ()


def test_company__that_buyers_name_is_made_once_and_one_that_is_there_is_reused(accounts: Accounts) -> None:
    existing = accounts.control("companies", name="Other")["id"]
    for number, name in enumerate(("Acme GmbH", " acme  gmbh", "OTHER")):
        bought(accounts, f"b{number}@example.net", name)
    accounts.run().raise_if_failed()
    (made,) = (c["id"] for c in accounts.kommo()["companies"] if c["id"] != existing)
    assert sorted(linked(accounts)) == sorted([[made], [made], [existing]])
    assert names(accounts) == ["Acme GmbH", "Other"]
    settle(accounts)


def test_company__of_several_with_the_name_is_the_oldest_and_a_longer_name_is_another(accounts: Accounts) -> None:
    oldest, *_ = [accounts.control("companies", name=name)["id"] for name in ("Acme", "Acme & Sons", "ACME")]
    bought(accounts, "new@example.net", "acme")
    accounts.run().raise_if_failed()
    assert linked(accounts) == [[oldest]]


def test_company__that_we_made_is_known_although_the_search_does_not_show_it_yet(accounts: Accounts) -> None:
    accounts.control("faults", search_lag_s=3600)
    for number in range(2):
        bought(accounts, f"b{number}@example.net", "Acme")
        accounts.run().raise_if_failed()
    assert names(accounts) == ["Acme"]
    assert linked(accounts)[0] == linked(accounts)[1] != []


def test_company__that_somebody_deleted_is_made_again(accounts: Accounts) -> None:
    bought(accounts, "b0@example.net", "Acme")
    accounts.run().raise_if_failed()
    (gone,) = linked(accounts)[0]
    httpx.delete(f"{accounts.simulator.url}/control/companies/{gone}", timeout=10).raise_for_status()
    bought(accounts, "b1@example.net", "Acme")
    accounts.run().raise_if_failed()
    assert linked(accounts)[1] not in ([], [gone])


@pytest.mark.parametrize("how", LOST)
def test_lost_answer__of_a_company_costs_one_deal_its_company_and_doubles_nothing(accounts: Accounts, how: str) -> None:
    """The sale counts. What was made all the same is found, and is the next buyer's, whom the search would fail."""
    accounts.control("faults", search_lag_s=3600)
    accounts.inject("POST", "/companies", how=how)
    bought(accounts, "b0@example.net", "Acme")
    accounts.run()
    assert linked(accounts) == [[]]
    settle(accounts)
    bought(accounts, "b1@example.net", "ACME")
    settle(accounts)
    (company,) = accounts.kommo()["companies"]
    assert linked(accounts) == [[], [company["id"]]]


def test_run__stopped_after_a_company_was_made_does_not_make_it_again(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.control("faults", search_lag_s=3600)
    bought(accounts, "new@example.net", "Acme")

    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(apply, "_create_contacts", dying)
        with pytest.raises(KeyboardInterrupt):
            accounts.run()
    assert len(accounts.kommo()["companies"]) == 1
    settle(accounts)
    (company,) = accounts.kommo()["companies"]
    assert linked(accounts) == [[company["id"]]]


def test_run__stopped_before_the_company_was_remembered_does_not_make_it_again(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.control("faults", search_lag_s=3600)
    bought(accounts, "new@example.net", "Acme")
    keep = Evidence.keep_companies

    def dying(self: Evidence, companies: Mapping[str, int | None], now: datetime) -> None:
        if any(companies.values()):
            raise KeyboardInterrupt
        keep(self, companies, now)

    with monkeypatch.context() as patch:
        patch.setattr(Evidence, "keep_companies", dying)
        with pytest.raises(KeyboardInterrupt):
            accounts.run()
    assert len(accounts.kommo()["companies"]) == 1
    settle(accounts)
    (company,) = accounts.kommo()["companies"]
    assert linked(accounts) == [[company["id"]]]


def test_company__that_kommo_refuses_leaves_the_deal_without_one(accounts: Accounts) -> None:
    accounts.inject("POST", "/companies", how="answer", status=400)
    order_id = bought(accounts, "new@example.net", "Acme")
    report = accounts.run()
    assert [key for key, outcome in report.outcomes.items() if outcome.state != "applied"] == [
        f"order:{order_id}:company"
    ]
    assert linked(accounts) == [[]]
    assert accounts.run(apply=False).plan.actions == ()


def test_search__that_kommo_refuses_is_said_and_holds_nothing_up(accounts: Accounts) -> None:
    accounts.inject("GET", "/companies", how="answer", status=400)
    bought(accounts, "new@example.net", "?")
    report = accounts.run()
    report.raise_if_failed()
    assert any("did not look for a company" in remark for remark in report.remarks())
    assert [len(companies) for companies in linked(accounts)] == [1]


def test_company__is_nobodys_where_the_setting_is_empty(accounts: Accounts) -> None:
    config = accounts.folder / "dealsync.toml"
    config.write_text(config.read_text() + '\n[self_serve]\ncompany_key = ""\n')
    bought(accounts, "new@example.net", "Acme")
    report = accounts.run()
    report.raise_if_failed()
    assert Kind.CREATE_COMPANY not in {action.kind for action in report.plan.actions}
    assert linked(accounts) == [[]]
