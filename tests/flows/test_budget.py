"""How many requests a run costs, exactly: a request more is seen here, whatever it is for."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from dealsync.apis.lemonsqueezy import pages
from dealsync.core.plan import Kind
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import AccountRow
from dealsync.poll import SLICES
from dealsync.report import Report
from dealsync.settings import build_store, load_environment
from tests.accounts import Accounts, simulated

ORDERS = 1_000
PATCHED = {Kind.CLOSE, Kind.ATTENTION, Kind.PRICE, Kind.FIELDS, Kind.TAG, Kind.UNTAG}
NAMES = {f"kommo GET /api/v4/{what}": 1 for what in ("account", "leads/pipelines", "users", "leads/custom_fields")}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """Accounts with a past that fills many pages, after `init`."""
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path_factory.mktemp("large"), orders=ORDERS) as it:
        patch.setattr(pages, "SLOW_S", math.inf)  # a busy machine is no slow account, and costs no request
        it.init()
        it.control("faults", list_lag_s=0)  # a deal is listed at once: what these runs are about is their requests
        yield it


@pytest.fixture(scope="module")
def caught_up(large: Accounts) -> tuple[Report, dict[str, int], dict[str, int]]:
    """The first run: its report, what it asked, and how many pages both sides had before it."""
    before = sizes(large)
    report, asked = counted(large)
    large.run()  # what is told of deals that the first run made
    return report, asked, before


def sizes(accounts: Accounts) -> dict[str, int]:
    """Pages of every list that a run reads in whole."""
    state = httpx.get(f"{accounts.simulator.url}/control/state", timeout=30).json()
    ls, kommo = state["lemon_squeezy"], state["kommo"]
    ours = {f"lemonsqueezy GET /v1/{name}": (ls[name], 100) for name in ("orders", "subscriptions")}
    ours["lemonsqueezy GET /v1/subscription-invoices"] = (ls["subscription-invoices"], 100)
    theirs = {f"kommo GET /api/v4/{name}": (kommo[name], 250) for name in ("leads", "contacts")}
    return {name: math.ceil(len(rows) / page) for name, (rows, page) in (ours | theirs).items()}


def counted(accounts: Accounts, **options: Any) -> tuple[Report, dict[str, int]]:
    """Run once; return the report, and the requests that reached the accounts."""
    accounts.control("requests/reset")
    report = accounts.run(max_changes=10_000, **options)
    return report, accounts.requests()["counts"]


def an_hour_passes(accounts: Accounts) -> None:
    """What was written or read a moment ago is out of the windows of the next run."""
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(update(AccountRow).values(read_at=utc_now() - timedelta(hours=1)))
    where = f"{accounts.simulator.url}/control/state"
    state = httpx.get(where, timeout=30).json()
    for changed in (*state["kommo"]["leads"], *state["kommo"]["contacts"]):
        changed["updated_at"] -= 3600
    httpx.put(where, json=state, timeout=30).raise_for_status()


def test_budget__of_the_first_run_is_every_page_once_and_full_batches(
    caught_up: tuple[Report, dict[str, int], dict[str, int]],
) -> None:
    report, asked, pages = caught_up
    kinds = Counter(action.kind for action in report.plan.actions)
    patched = {a.lead_id for a in report.plan.actions if a.kind in PATCHED and a.lead_id}
    assert len(patched) > 500
    assert asked == pages | {
        "lemonsqueezy GET /v1/checkouts": 1,
        "kommo GET /api/v4/events": 1,  # since when deals wait for their payment
        "kommo PATCH /api/v4/leads": math.ceil(len(patched) / 250),
        "kommo POST /api/v4/leads": math.ceil(kinds[Kind.CREATE_DEAL] / 250),
        "kommo POST /api/v4/contacts": math.ceil(kinds[Kind.CREATE_CONTACT] / 250),
        "kommo POST /api/v4/leads/notes": math.ceil(kinds[Kind.NOTE] / 250),
        "kommo POST /api/v4/tasks": math.ceil(kinds[Kind.TASK] / 250),
    }
    forced = sum(pages.values()) + sum(count for name, count in asked.items() if "GET" not in name)
    assert sum(asked.values()) <= math.ceil(1.05 * forced)


@pytest.mark.usefixtures("caught_up")
def test_budget__of_a_quiet_hour_is_a_dozen_and_a_twenty_fourth_of_the_older_pages(large: Accounts) -> None:
    an_hour_passes(large)
    _, asked = counted(large)
    ls = {name: count for name, count in sizes(large).items() if name.startswith("lemonsqueezy")}
    older = {name: math.ceil((count - 1) / SLICES) for name, count in ls.items()}
    assert asked == NAMES | {name: 1 + older[name] for name in ls} | {
        "lemonsqueezy GET /v1/checkouts": 1,
        "kommo GET /api/v4/leads": 2,  # what changed, and what was deleted
        "kommo GET /api/v4/contacts": 1,
    }
    assert sum(asked.values()) - sum(older.values()) <= 12


@pytest.mark.usefixtures("caught_up")
def test_budget__of_payments_is_one_batch_of_each_kind_whatever_their_number(large: Accounts) -> None:
    an_hour_passes(large)
    for number in range(40):
        buyer = {"name": f"Late {number}", "email": f"late{number}@example.com"}
        large.control("leads", price=70, contact=buyer)
        large.control("orders", email=buyer["email"], total=7000)
    quiet = 14
    report, asked = counted(large)
    assert Counter(a.kind for a in report.plan.actions) == {Kind.CLOSE: 40, Kind.FIELDS: 40, Kind.NOTE: 40}
    assert {name: count for name, count in asked.items() if "GET" not in name} == {
        "kommo PATCH /api/v4/leads": 1,
        "kommo POST /api/v4/leads/notes": 1,
    }
    assert sum(asked.values()) == quiet + 3


@pytest.mark.usefixtures("caught_up")
def test_budget__of_a_deep_run_is_every_page_once(large: Accounts) -> None:
    an_hour_passes(large)
    _, asked = counted(large, deep=True)
    refunded = Counter({"lemonsqueezy GET /v1/subscription-invoices": 1})  # in full, however old
    assert asked == Counter(sizes(large)) + refunded + Counter(NAMES | {"lemonsqueezy GET /v1/checkouts": 1})


@pytest.mark.usefixtures("caught_up")
def test_budget__nothing_is_asked_twice_in_a_run(large: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: Counter[tuple[str, str]] = Counter()
    send = httpx.AsyncClient.request

    async def remembered(self: httpx.AsyncClient, method: str, path: str, **content: Any) -> httpx.Response:
        questions[method, str(httpx.URL(path, params=content.get("params")))] += 1
        return await send(self, method, path, **content)

    monkeypatch.setattr(httpx.AsyncClient, "request", remembered)
    for deep in (False, True):
        an_hour_passes(large)
        large.control("leads", price=71, contact={"name": "Twice", "email": f"twice{deep}@example.com"})
        large.control("orders", email=f"twice{deep}@example.com", total=7100)
        large.run(max_changes=10_000, deep=deep)
        assert questions.total() > 10
        assert [question for question, count in questions.items() if count > 1] == []
        questions.clear()
