"""`dealsync report` as a person uses it: on the simulated accounts, without a process of its own."""

import base64
import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from dealsync import cli
from dealsync.core.figures import digest
from tests.accounts import INVOICE_SENT, Accounts, simulated
from tests.flows.test_alerts import Bell, ringing

ANN = {"name": "Ann Example", "email": "ann@example.com"}
HOSTILE = '=HYPERLINK("https://evil.example") <script>alert(1)</script><img src="https://evil.example/x.png">'
ZONE = ZoneInfo("America/New_York")  # the simulated account's
PERSONAL = ("ann@", "Ann Example", "bob@", "carl@", "hostile@", "@example.com")


def report(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["report", *arguments])


@pytest.fixture(autouse=True)
def _in_their_folder(sold: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sold.folder)


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    with ringing() as found:
        monkeypatch.setenv("DEALSYNC_REPORT_URLS", f"json://127.0.0.1:{found.server_port}/secret-path")
        yield found


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """A deal that was paid, a self-serve sale in euros, a tie, a partial refund, a hostile name, a stuck deal."""
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path_factory.mktemp("accounts")) as accounts:
        accounts.init()
        yield _sell(accounts)


def _sell(accounts: Accounts) -> Accounts:
    accounts.control("leads", price=490, contact=ANN)
    accounts.control("leads", price=490, status_id=INVOICE_SENT, age_days=3)
    for _ in range(2):
        accounts.control("leads", price=880, contact={"name": "Carl Example", "email": "carl@example.com"})
    accounts.run()  # payments from before the first run are not in the times to won
    first = accounts.control("orders", email=ANN["email"], total=49000)["data"]["id"]
    accounts.control("orders", email="bob@example.com", total=9900, currency="EUR")
    accounts.control("orders", email="carl@example.com", total=88000)
    hostile = accounts.control("variants", name=HOSTILE, price=1000)["data"]["id"]
    accounts.control("orders", email="hostile@example.com", total=1000, variant_id=hostile)
    accounts.run()
    accounts.control(f"orders/{first}/refund", amount=1000)
    accounts.run()
    return accounts


class Outside(HTMLParser):
    """Everything in a page that a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetched = [f"{tag} {name}" for name, _ in attrs if name in ("src", "srcset", "data", "poster", "background")]
        run = [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        local = all((value or "").startswith("#") for name, value in attrs if name.endswith("href"))
        if tag in ("script", "img", "iframe", "object", "embed", "base") or (tag in ("link", "use") and not local):
            self.found.append(tag)
        self.found += fetched + run


def test_report__tells_the_month_so_far_and_writes_page_and_table(sold: Accounts, tmp_path: Path) -> None:
    month = f"{datetime.now(ZONE):%Y-%m}"
    shown = report("--out", str(tmp_path / "made" / "here"), "--month", month)
    assert shown.exit_code == 0, shown.output
    lines, words = shown.output.splitlines(), " ".join(shown.output.split())
    assert "came in 4 payments; dealsync won 3 deals; 1 payment has no deal." in words
    assert "EUR: €99.00 paid (1 sale, 0 renewals)" in words
    assert "0 in full, 1 in part" in words
    assert all(len(line) <= 80 for line in lines[:-2])
    paths = [tmp_path / "made" / "here" / f"report-{month}.{ending}" for ending in ("html", "csv")]
    assert lines[-2:] == [str(path) for path in paths]
    assert all(path.stat().st_size for path in paths)
    assert sold.folder != paths[0].parent


def test_report__asks_neither_api_anything(sold: Accounts) -> None:
    before = sold.requests()
    assert report().exit_code == 0
    assert sold.requests()["counts"] == before["counts"]


def test_report__as_json_has_figures_digest_and_owners_by_name(sold: Accounts) -> None:
    told = json.loads(report("--json").output)
    figures = told["report"]
    assert told["sha256"] == digest(figures)
    assert {totals["currency"]: totals["paid_minor"] for totals in figures["totals"]} == {
        "USD": 49000 + 88000 + 1000, "EUR": 9900,
    }  # fmt: skip
    owners = {user["name"] for user in sold.kommo()["users"]}
    named = {row["name"] for row in figures["by_owner"]}
    assert named - {"no deal yet"} <= owners
    assert "no deal yet" in named
    assert figures["reviews_waiting"] == 1
    assert figures["speed"]["by poll"]["deals"] == 3
    assert figures["is_over"] is False
    assert not [word for word in PERSONAL if word in json.dumps(told)]


def test_report__page_holds_hostile_names_harmless_fetches_nothing_and_names_no_client(sold: Accounts) -> None:
    assert report().exit_code == 0
    (page,) = sold.folder.glob("report-*.html")
    html = page.read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(html)
    assert outside.found == []
    assert "&lt;script&gt;alert(1)" in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    assert html.count("<svg") == 3
    assert "@media print" in html
    assert not [word for word in PERSONAL if word in html]


def test_report__table_has_no_formula_and_no_client(sold: Accounts) -> None:
    assert report().exit_code == 0
    (path,) = sold.folder.glob("report-*.csv")
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert sorted(row["what"] for row in rows) == ["part refund", "sale", "sale", "sale", "sale"]
    (hostile,) = (row for row in rows if "HYPERLINK" in row["product"])
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert (hostile["amount_minor"], hostile["amount"], hostile["currency"]) == ("1000", "10.00", "USD")
    (refund,) = (row for row in rows if row["what"] == "part refund")
    assert (refund["amount"], refund["evidence"]) == ("10.00", "contact")
    assert not [word for word in PERSONAL if word in text]


def test_report__of_a_month_without_payments_says_so(tmp_path: Path) -> None:
    shown = report("--month", "2020-02", "--out", str(tmp_path))
    assert (shown.exit_code, "No payments came." in shown.output) == (0, True)
    html = (tmp_path / "report-2020-02.html").read_text(encoding="utf-8")
    assert "No payment was made in this month" in html
    assert "dealsync was not at work yet" in html
    assert len((tmp_path / "report-2020-02.csv").read_text(encoding="utf-8-sig").splitlines()) == 1


def test_report__of_no_month_says_how_months_are_written() -> None:
    assert "Write year and month, such as" in complaint("--month", "october")


def test_report__of_a_month_to_come_is_refused(tmp_path: Path) -> None:
    to_come = f"{datetime.now(ZONE) + timedelta(days=40):%Y-%m}"
    assert f"{to_come} has not begun" in complaint("--month", to_come, "--out", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_report__into_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be written to" in complaint("--out", str(tmp_path / "file" / "below"))


def test_report__sends_once_a_day_with_its_page(sold: Accounts, mailbox: Bell) -> None:
    assert report("--send").output.splitlines()[-1] == "Report: sent"
    assert "sent before on this day" in report("--send").output
    (heard,) = mailbox.heard
    (page,) = sold.folder.glob("report-*.html")
    (attached,) = heard["attachments"]
    assert attached["filename"] == page.name
    assert b"</html>" in base64.b64decode(attached["base64"])
    assert "came in 4 payments" in heard["message"]
    assert not [word for word in PERSONAL if word in heard["message"]]


def test_report__that_did_not_arrive_is_sent_next_time(mailbox: Bell, tmp_path: Path) -> None:
    earlier = ("--send", "--month", "2020-03", "--out", str(tmp_path))
    mailbox.status = 500
    assert "Not every address" in (told := complaint(*earlier))
    assert "secret-path" not in told
    mailbox.status = 200
    assert "Report: sent" in report(*earlier).output
    assert len(mailbox.heard) == 1


def test_report__is_sent_to_where_alerts_go_unless_that_is_off(
    sold: Accounts, mailbox: Bell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    earlier = ("--send", "--month", "2020-04", "--out", str(tmp_path))
    monkeypatch.delenv("DEALSYNC_REPORT_URLS")
    assert "nobody to send it to" in report(*earlier).output
    monkeypatch.setenv("DEALSYNC_ALERT_URLS", f"json://127.0.0.1:{mailbox.server_port}/x")
    config = (sold.folder / "dealsync.toml").read_text(encoding="utf-8")
    (tmp_path / "silent.toml").write_text(config + "\n[report]\nsend = false\n", encoding="utf-8")
    with monkeypatch.context() as silent:
        silent.setenv("DEALSYNC_CONFIG", str(tmp_path / "silent.toml"))
        assert "report.send is false" in report(*earlier).output
    assert mailbox.heard == []
    assert "Report: sent" in report(*earlier).output
    monkeypatch.setenv("DEALSYNC_REPORT_URLS", "nonsense://with-a-password")
    wrong = complaint("--send", "--month", "2020-05", "--out", str(tmp_path))
    assert "DEALSYNC_REPORT_URLS: number 1 (nonsense:" in wrong
    assert "with-a-password" not in wrong


def test_report__tells_stuck_deals_by_their_age(sold: Accounts) -> None:
    (stuck,) = json.loads(report("--json").output)["report"]["stuck"]
    assert stuck["days"] == 3
    assert sold.lead(stuck["lead_id"])["status_id"] == INVOICE_SENT
    assert f"/leads/detail/{stuck['lead_id']}" in next(sold.folder.glob("report-*.html")).read_text(encoding="utf-8")


def complaint(*arguments: str) -> str:
    """Return the one line of a mistake, as the whole command line tells it."""
    with pytest.MonkeyPatch.context() as patch:
        told = StringIO()
        patch.setattr(sys, "argv", ["dealsync", "report", *arguments])
        patch.setattr(sys, "stderr", told)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert stopped.value.code == 1
    (line,) = told.getvalue().splitlines()
    return line
