"""Outgoing webhooks: who is registered, what waits to be sent, who was switched off.

Source: Kommo reference, 5.8 (registration), 6.1 (bodies) and 6.3 (delivery).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dealsync.simulator.assumptions import TRIGGER_RETRIES_S, WEBHOOK_ENTITIES_PER_BODY
from dealsync.simulator.clock import Clock
from dealsync.simulator.deliveries import Deliveries, Delivery
from dealsync.simulator.table import Record

ANSWER_TIME_S = 2.0
MAX_HOOKS = 100
ENTITY_SETTINGS = ("add", "update", "delete", "restore", "responsible", "note")
SETTINGS = (
    *(f"{action}_{kind}" for kind in ("lead", "contact", "company") for action in ENTITY_SETTINGS),
    "status_lead",
    *("add_task", "update_task", "delete_task", "responsible_task"),
    *("add_talk", "update_talk", "add_message", "add_outgoing_message", "add_chat_template_review"),
    *("add_customer", "update_customer", "delete_customer", "responsible_customer", "note_customer"),
)
DISABLING_FAILURES = 100
DISABLING_WINDOW_S = 2 * 3600.0
TRIGGER_FAILURES = 100
TRIGGER_WINDOW_S = TRIGGER_PAUSE_S = 5 * 60.0
TRIGGER_LABEL = "digital_pipeline"
FORM = "application/x-www-form-urlencoded"


@dataclass
class _Waiting:
    """A change that is not sent yet; changes of one batch share a body."""

    settings: tuple[str, ...]
    group: str
    action: str
    row: Record


class Hooks:
    """The account's webhooks and the digital pipeline's, as sender."""

    def __init__(self, clock: Clock, deliveries: Deliveries, account: Callable[[], Record]) -> None:
        """`account` returns the account's object, for the `account[...]` keys of a body."""
        self.registered: dict[int, Record] = {}
        self.triggers: dict[int, Record] = {}  # of digital pipelines: {id, pipeline_id, status_id, url}
        self.failures: dict[str, list[float]] = {}  # url -> moments of failed attempts, oldest first
        self._clock = clock
        self._deliveries = deliveries
        self._account = account
        self._waiting: list[_Waiting] = []
        deliveries.success("kommo", lambda status: 100 <= status <= 299)
        deliveries.timeout("kommo", ANSWER_TIME_S)
        deliveries.policy("kommo", self._next_wait)
        deliveries.listener("kommo", self._count)

    # --- saving -----------------------------------------------------------------------------------
    def state(self) -> Record:
        """Return everything as JSON; nothing waits between two requests."""
        return {
            "registered": list(self.registered.values()),
            "triggers": list(self.triggers.values()),
            "failures": self.failures,
        }

    def load(self, state: Record) -> None:
        """Replace everything by what `state` returned."""
        self.registered = {hook["id"]: hook for hook in state["registered"]}
        self.triggers = {trigger["id"]: trigger for trigger in state["triggers"]}
        self.failures = state["failures"]

    # --- registration -----------------------------------------------------------------------------
    def at(self, destination: str) -> Record | None:
        """Return the webhook of an address."""
        return next((hook for hook in self.registered.values() if hook["destination"] == destination), None)

    def triggers_of(self, pipeline_id: int, status_id: int) -> Iterator[Record]:
        """Yield the digital pipeline's hooks that fire when a deal comes into this stage."""
        for trigger in self.triggers.values():
            if (trigger["pipeline_id"], trigger["status_id"]) == (pipeline_id, status_id):
                yield trigger

    def wanted(self, *settings: str) -> bool:
        """Tell whether any working hook listens for one of these settings."""
        return any(_listens(hook, settings) for hook in self.registered.values())

    # --- sending ----------------------------------------------------------------------------------
    def note(self, settings: tuple[str, ...], group: str, action: str, row: Record) -> None:
        """Keep a change until `flush`; it goes as `group[action][n]` to hooks that have one of the settings."""
        self._waiting.append(_Waiting(settings, group, action, row))

    def fire(self, trigger: Record, row: Record) -> None:
        """Send a digital pipeline's hook: it tells of one deal and is not subject to settings."""
        self._send(trigger["url"], "leads", "status", [row], TRIGGER_LABEL)

    def flush(self) -> None:
        """Send what was noted since the last time, changes of one kind together."""
        waiting, self._waiting = self._waiting, []
        together: dict[tuple[tuple[str, ...], str, str], list[Record]] = {}
        for one in waiting:
            together.setdefault((one.settings, one.group, one.action), []).append(one.row)
        for (settings, group, action), rows in together.items():
            for hook in self.registered.values():
                if _listens(hook, settings):
                    for start in range(0, len(rows), WEBHOOK_ENTITIES_PER_BODY):
                        part = rows[start : start + WEBHOOK_ENTITIES_PER_BODY]
                        self._send(hook["destination"], group, action, part, settings[0])

    def _send(self, url: str, group: str, action: str, rows: list[Record], label: str) -> None:
        account = self._account()
        subdomain = account["subdomain"]
        about = {"id": account["id"], "subdomain": subdomain, "_links": {"self": f"https://{subdomain}.kommo.com"}}
        body = form_body({group: {action: rows}, "account": about})
        self._deliveries.send("kommo", url, {"content-type": FORM}, body, label)

    # --- failures ---------------------------------------------------------------------------------
    def _next_wait(self, delivery: Delivery, status: int | None) -> float | None:
        """Return the simulated seconds to the next attempt; None gives up (6.3)."""
        done = len(delivery.attempts)
        if delivery.label == TRIGGER_LABEL:
            if done > len(TRIGGER_RETRIES_S):
                return None
            pause = TRIGGER_PAUSE_S if self._recent(delivery.url, TRIGGER_WINDOW_S) > TRIGGER_FAILURES else 0.0
            return max(TRIGGER_RETRIES_S[done - 1], pause)
        hook = self.at(delivery.url)
        if hook is None or hook["disabled"]:
            return None
        if done < 3:
            return (5 * 60.0, 15 * 60.0)[done - 1]
        server_failed = status == 499 or (status is not None and 500 <= status <= 599)
        return {3: 15 * 60.0, 4: 3600.0}.get(done) if server_failed else None

    def _count(self, delivery: Delivery) -> None:
        """Note how an attempt went; too many failures, the last one among them, switch a hook off."""
        if delivery.state == "delivered":
            return
        self.failures.setdefault(delivery.url, []).append(self._clock.now())
        hook = self.at(delivery.url)
        if delivery.label != TRIGGER_LABEL and hook is not None:
            hook["disabled"] = hook["disabled"] or self._recent(delivery.url, DISABLING_WINDOW_S) > DISABLING_FAILURES

    def _recent(self, url: str, window_s: float) -> int:
        """Return the failures of an address in the window that ends now; older than 2 h are forgotten."""
        now = self._clock.now()
        kept = [at for at in self.failures.get(url, ()) if at > now - DISABLING_WINDOW_S]
        self.failures[url] = kept
        return sum(at > now - window_s for at in kept)


def _listens(hook: Record, settings: tuple[str, ...]) -> bool:
    return not hook["disabled"] and any(setting in hook["settings"] for setting in settings)


def form_body(tree: Record) -> bytes:
    """Return nested values as a form with PHP brackets: `leads[status][0][id]=1`; every value a text."""
    return urlencode(list(_pairs(tree, ""))).encode()


def _pairs(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _pairs(value, f"{path}[{key}]" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _pairs(value, f"{path}[{index}]")
    else:
        yield path, _text(node)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)
