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
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.ui import WebDriverWait

from dealsync.local_prefect import FlowRun, LocalPrefect
from tests.accounts import WON, Accounts, simulated
from tests.flows.test_hot_path import until
from tests.webhooks import Hooks

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BUYER = "a.buyer@example.com"
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium or chromedriver is missing (Debian: apt-get install chromium-driver)"
)


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


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path) as found:
        found.init()
        yield found


def test_ui__shows_the_run_of_a_payment_and_what_it_did(accounts: Accounts, browser: Chrome, tmp_path: Path) -> None:
    with (
        LocalPrefect.running(tmp_path / "prefect") as prefect,
        prefect.serving(accounts.simulator.environment(), folder=accounts.folder) as receiver,
    ):
        Hooks(accounts).register(receiver)
        lead_id = accounts.control("leads", price=490)["id"]
        custom = {"kommo_lead_id": str(lead_id)}
        accounts.control("orders", email=BUYER, total=49000, custom_data=custom)
        until(lambda: accounts.lead(lead_id)["status_id"] == WON)
        until(lambda: completed(prefect) != [])
        (run,) = completed(prefect)

        browser.get(f"{prefect.ui_url}/runs/flow-run/{run.id}")
        seen(browser, "process-inbox", "Completed", "order_created")
        WebDriverWait(browser, PATIENCE_S).until(element_to_be_clickable((By.ID, "artifacts"))).click()
        seen(browser, "report", "deals closed as won")
        browser.get(f"{prefect.ui_url}/artifacts/key/report")
        artifact = (By.CSS_SELECTOR, "a[href*='/artifacts/artifact/']")
        WebDriverWait(browser, PATIENCE_S).until(element_to_be_clickable(artifact)).click()
        page = seen(browser, "Events", "order_created", "closed as won")
        assert BUYER not in page
        links = [link.get_attribute("href") for link in browser.find_elements(By.TAG_NAME, "a")]
        assert any(f"leads/detail/{lead_id}" in (link or "") for link in links)


def completed(prefect: LocalPrefect) -> list[FlowRun]:
    """Return the runs that handled the payment."""
    runs = prefect.flow_runs("process-inbox")
    return [run for run in runs if run.state == "Completed" and "order_created" in run.tags]


def seen(browser: Chrome, *texts: str) -> str:
    """Wait until the page shows these texts; return all of its text."""

    def shows(driver: Chrome) -> bool:
        page = driver.find_element(By.TAG_NAME, "body").text
        return all(text.casefold() in page.casefold() for text in texts)

    try:
        WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException]).until(shows)
    finally:
        if folder := os.environ.get("SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / f"{texts[0]}.png"))
    return browser.find_element(By.TAG_NAME, "body").text
