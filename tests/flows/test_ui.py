"""What a person sees of a purchase in the Prefect UI, in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, url_contains
from selenium.webdriver.support.ui import WebDriverWait

from dealsync.local_prefect import FlowRun, LocalPrefect
from tasks.accounts import DealsyncAccounts
from tests.accounts import WON, Accounts, simulated
from tests.flows.test_hot_path import until
from tests.webhooks import Hooks

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BUYER = "a.buyer@example.com"
PATIENCE_S = 60

pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="chromium or chromedriver is missing (Debian: apt-get install chromium-driver)"
    ),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless browser that reaches nothing but this machine."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1600",
        f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(argument)
    found = Chrome(options, ChromeService(DRIVER))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path_factory.mktemp("accounts")) as found:
        found.init()
        yield found


@pytest.fixture(scope="module")
def served(shared_prefect: LocalPrefect, accounts: Accounts) -> Iterator[LocalPrefect]:
    with shared_prefect.serving(accounts.simulator.environment(), folder=accounts.folder) as receiver:
        Hooks(accounts).register(receiver)
        with shared_prefect.unscheduled():
            yield shared_prefect


def test_ui__shows_the_run_of_a_payment_what_it_did_and_how_dealsync_stands(
    accounts: Accounts, browser: Chrome, served: LocalPrefect
) -> None:
    lead_id = accounts.control("leads", price=490)["id"]
    custom = {"kommo_lead_id": str(lead_id)}
    accounts.control("orders", email=BUYER, total=49000, custom_data=custom)
    until(lambda: accounts.lead(lead_id)["status_id"] == WON)
    until(lambda: completed(served) != [])
    (run,) = completed(served)

    browser.get(f"{served.ui_url}/runs/flow-run/{run.id}")
    seen(browser, "webhook: 1 closed (", "Completed", "order_created", accounts.store_tag, "live")
    WebDriverWait(browser, PATIENCE_S).until(element_to_be_clickable((By.ID, "artifacts"))).click()
    seen(browser, "report", "deals closed as won")
    page = opened(browser, served, "report", "Events", "order_created", "closed as won")
    assert BUYER not in page
    linked(browser, lead_id)

    accounts.simulator.world.faults.update({"webhook_loss": 1.0})  # what follows is for the nightly run
    contact = {"name": "Ann Example", "email": "ann@example.com"}
    deals = [accounts.control("leads", price=880, contact=contact)["id"] for _ in range(2)]
    accounts.control("orders", email="ann@example.com", total=88000)
    accounts.control("orders", email="self.serve@example.com", total=9900)
    night = served.run_deployment("deep-sweep", {"apply": True, "deep": True}, timeout_s=240)
    assert night.state == "Completed", night.message
    opened(browser, served, "summary", "deals created", "payments that a person must place")
    opened(browser, served, "drift", "paid, but there is no deal", "under a day")
    opened(browser, served, "latency", "24 hours", "webhook")
    opened(browser, served, "reviews", "resolve-review", "since")
    linked(browser, *deals)
    for key in ("chart-payments-per-day", "chart-time-to-close", "chart-drift-over-time"):
        opened(browser, served, key)
        WebDriverWait(browser, PATIENCE_S).until(lambda driver: painted(driver) > 0)
        shot(browser, key)


def test_ui__takes_credentials_in_a_form_and_shows_them_to_nobody_afterwards(
    browser: Chrome, served: LocalPrefect
) -> None:
    browser.get(f"{served.ui_url}/blocks/catalog/dealsync-accounts/create")
    seen(browser, "Lemon Squeezy API key", "Long-lived Kommo token", "Kommo account, such as")
    typed = [name for name in DealsyncAccounts.model_fields if name != "dealsync_mode"]
    boxes = dict(zip(typed, browser.find_elements(By.TAG_NAME, "textarea"), strict=True))
    browser.find_element(By.TAG_NAME, "input").send_keys("accounts-of-nobody")
    boxes["kommo_domain"].send_keys("nobody.kommo.com")
    boxes["kommo_token"].send_keys("a-secret-token")
    browser.find_element(By.XPATH, "//button[contains(., 'Create')]").click()
    WebDriverWait(browser, PATIENCE_S).until(url_contains("/blocks/block/"))
    page = browser.current_url
    for where in ("", "/edit"):
        browser.get(page + where)
        seen(browser, "accounts-of-nobody", "Long-lived Kommo token")
        WebDriverWait(browser, PATIENCE_S).until(lambda driver: "********" in everything(driver))
        assert "nobody.kommo.com" in everything(browser)
        assert "a-secret-token" not in everything(browser) + browser.page_source
        shot(browser, f"block{where.replace('/', '-')}")


def completed(prefect: LocalPrefect) -> list[FlowRun]:
    """Return the runs that handled the payment."""
    runs = prefect.flow_runs("process-inbox")
    return [run for run in runs if run.state == "Completed" and "order_created" in run.tags]


def opened(browser: Chrome, prefect: LocalPrefect, key: str, *texts: str) -> str:
    """Open the latest artifact under a key by the link in its history; return its text."""
    browser.get(f"{prefect.ui_url}/artifacts/key/{key}")
    artifact = (By.CSS_SELECTOR, "a[href*='/artifacts/artifact/']")
    WebDriverWait(browser, PATIENCE_S).until(element_to_be_clickable(artifact)).click()
    WebDriverWait(browser, PATIENCE_S).until(url_contains("/artifacts/artifact/"))
    return seen(browser, key, *texts)


def everything(browser: Chrome) -> str:
    """Return the text of a page with what its boxes hold."""
    held = "return [document.body.innerText, ...[...document.querySelectorAll('input,textarea')].map(b => b.value)]"
    return "\n".join(browser.execute_script(held))


def linked(browser: Chrome, *lead_ids: int) -> None:
    """Wait until the page has a link to each of these deals: it comes a moment after the text."""

    def all_there(driver: Chrome) -> bool:
        hrefs = [link.get_attribute("href") or "" for link in driver.find_elements(By.TAG_NAME, "a")]
        return all(any(f"leads/detail/{lead_id}" in href for href in hrefs) for lead_id in lead_ids)

    WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException]).until(all_there)


def painted(browser: Chrome) -> int:
    """Return the width of the chart as the browser has decoded it; 0 as long as it shows none."""
    script = (
        "return Math.max(0, ...[...document.images].filter(i => i.src.startsWith('data:')).map(i => i.naturalWidth))"
    )
    return int(browser.execute_script(script))


def shot(browser: Chrome, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def seen(browser: Chrome, *texts: str) -> str:
    """Wait until the page shows these texts; return all of its text."""

    def shows(driver: Chrome) -> bool:
        page = driver.find_element(By.TAG_NAME, "body").text
        return all(text.casefold() in page.casefold() for text in texts)

    try:
        WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException]).until(shows)
    finally:
        shot(browser, texts[0])
    return browser.find_element(By.TAG_NAME, "body").text
