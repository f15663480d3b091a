"""Switches: what a request meets besides the documented behaviour.

Defaults follow the reference's simulator contract (kommo reference, section 8). Everything is set by name
through POST /control/faults or straight on the object in a test.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dealsync.simulator.assumptions import RETRY_AFTER_ON_429

WRITES = ("POST", "PATCH", "PUT", "DELETE")
SHARES = ("webhook_duplicates", "webhook_loss")
How = Literal["answer", "apply_then_504", "apply_then_drop", "apply_then_cut", "apply_then_halve", "drop"]


@dataclass
class Injection:
    """A one-shot fault: it hits the next `times` requests that match, then is gone."""

    api: Literal["kommo", "lemonsqueezy"]
    path: str = "/"  # prefix below the API's root, e.g. "/api/v4/leads" or "/v1/orders"
    method: str = "*"  # "*" is any
    times: int = 1
    # Answer instead of doing; or do, then answer 504, drop the connection, cut it in the middle of the body, or send
    # half of the body as if it were all; or drop the connection without doing.
    how: How = "answer"
    status: int = 500  # of "answer"
    html: bool = False  # body of "answer": HTML instead of JSON
    retry_after: str = ""  # header of "answer": seconds or an HTTP date

    def hits(self, api: str, method: str, path: str) -> bool:
        """Tell whether this fault is for the request."""
        return self.api == api and self.method in ("*", method) and path.startswith(self.path)


def _switch(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass
class Faults:
    """Current settings; `settings()` lists them with their values, `described` what they mean."""

    latency_ms: int = _switch(0, "milliseconds before every API answer")
    latency_jitter_ms: int = _switch(0, "up to so many milliseconds more, by chance")
    filters_enabled: bool = _switch(True, "Kommo: off ignores every filter[...] (2.4)")
    custom_field_filter: bool = _switch(
        False, "Kommo: filter[custom_fields_values] works, which its own page does not list"
    )
    search_lag_s: float = _switch(5.0, "Kommo: seconds until `query` finds what was written")
    list_lag_s: float = _switch(2.0, "Kommo: seconds until filter[updated_at] shows what was written")
    batch_mode: Literal["all_or_nothing", "apply_valid"] = _switch(
        "all_or_nothing", "Kommo: what happens to the good items of a batch with a bad one"
    )
    kommo_limit_enabled: bool = _switch(True, "Kommo: the limit of calls a second and the block (1.5)")
    kommo_per_second: int = _switch(7, "Kommo: calls in a sliding second")
    kommo_block_after: int = _switch(
        20, "Kommo: more 429s than this in a minute lead to an HTML 403 for everything (1.5)"
    )
    kommo_retry_after_s: int = _switch(300, "Kommo: `retry_after` in the body of a 429")
    kommo_429_html: bool = _switch(False, "Kommo: a 429 has an HTML body, which the official client knows (1.5)")
    retry_after_header: bool = _switch(False, "Kommo: a 429 has a Retry-After header, which is not documented (1.5)")
    ls_limit_enabled: bool = _switch(True, "Lemon Squeezy: the limit of calls a minute (1)")
    ls_per_minute: int = _switch(300, "Lemon Squeezy: calls in a sliding minute")
    ls_retry_after: bool = _switch(RETRY_AFTER_ON_429, "Lemon Squeezy: Retry-After and x-ratelimit-reset on a 429")
    limit_over_250: Literal["clamp", "fallback_50", "refuse"] = _switch("clamp", "Kommo: `limit` above 250 (1.3)")
    minor_units: bool = _switch(False, "Kommo: accept decimals in price, show price_with_minor_units (2.8)")
    single_patch_shape: Literal["wrapped", "bare"] = _switch("wrapped", "Kommo: answer of PATCH /…/{id} (2.7)")
    relink_500: bool = _switch(True, "Kommo: linking a linked contact answers 500 (5.2)")
    shuffle_batch_answers: bool = _switch(False, "Kommo: items of a write's answer come in another order")
    write_then_drop: Literal["off", "drop", "504"] = _switch(
        "off", "Kommo: every write is done, then the connection is cut or a 504 answered (2.7); `inject` does so once"
    )
    lang: Literal["en", "pt"] = _switch("en", "Kommo: language of `detail` in errors, never to be matched on (1.6)")
    noop_moves_updated_at: bool = _switch(False, "Kommo: a PATCH that changes nothing moves updated_at (2.7)")
    partial_refund_status: Literal["partial_refund", "paid"] = _switch(
        "partial_refund", "Lemon Squeezy: status of an order refunded in part (6)"
    )
    partial_invoice_refund_status: Literal["partial_refund", "partial_refunded"] = _switch(
        "partial_refund", "Lemon Squeezy: status of an invoice refunded in part (5.4)"
    )
    test_mode_visible: bool = _switch(
        True, "Lemon Squeezy: off hides the other mode's objects from the key, as documented"
    )
    stale_patch_answer: bool = _switch(True, "Lemon Squeezy: the answer to a plan change shows the old item (6)")
    ls_automatic_renewals: bool = _switch(
        False, "Lemon Squeezy: subscriptions renew by themselves when their time comes"
    )
    ls_early_renews_at: bool = _switch(
        False, "Lemon Squeezy: updates of the first minute have renews_at = purchase (7.4)"
    )
    ls_older_captures: bool = _switch(False, "Lemon Squeezy: attributes that came later are missing (5.1)")
    webhook_duplicates: float = _switch(0.0, "webhooks: share (0 to 1) that is sent twice")
    webhook_loss: float = _switch(0.0, "webhooks: share (0 to 1) that is never sent")
    webhook_delay_s: float = _switch(0.0, "webhooks: up to so many simulated seconds later, by chance")
    webhook_shuffle: bool = _switch(False, "webhooks: those sent at once arrive in any order")
    webhook_time_scale: float = _switch(
        1.0, "webhooks: 0.01 lets waits before attempts and retries pass a hundred times sooner"
    )
    inject: list[Injection] = field(
        default_factory=list, metadata={"meaning": "one-shot faults: an object or a list of them, with at least `api`"}
    )

    def settings(self) -> dict[str, Any]:
        """Return every switch with its present value, JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "inject"}
        return {**values, "inject": [vars(one) for one in self.inject]}

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set switches by name, all or none. Raises ValueError that names what is wrong.

        `inject` takes one object or a list, added to those pending; null forgets the pending ones.
        """
        known = {f.name for f in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"unknown switch {', '.join(unknown)}; known are: {', '.join(sorted(known))}")
        types = get_type_hints(Faults)
        plain = {name: value for name, value in changes.items() if name != "inject"}
        for name, value in plain.items():
            _check(name, value, types[name])
        injected = _injections(changes["inject"]) if changes.get("inject") is not None else []
        for name, value in plain.items():
            setattr(self, name, value)
        if "inject" in changes and changes["inject"] is None:
            self.inject.clear()
        self.inject.extend(injected)

    def load(self, settings: Mapping[str, Any]) -> None:
        """Set every switch as `settings` told, and those it does not know to their defaults. Raises ValueError."""
        for one in fields(self):
            if one.name != "inject":
                setattr(self, one.name, one.default)
        self.inject = []
        self.update(settings)

    def take(self, api: str, method: str, path: str) -> Injection | None:
        """Return the first pending fault for this request and use it up once; or what `write_then_drop` asks for."""
        for one in self.inject:
            if one.hits(api, method, path):
                one.times -= 1
                if one.times <= 0:
                    self.inject.remove(one)
                return one
        if self.write_then_drop != "off" and api == "kommo" and method in WRITES and path.startswith("/api/v4/"):
            return Injection("kommo", how="apply_then_drop" if self.write_then_drop == "drop" else "apply_then_504")
        return None


def _check(name: str, value: object, wanted: Any) -> None:
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ValueError(f"{name} must be one of: {', '.join(map(str, get_args(wanted)))}")
    elif wanted is bool or wanted is str:
        if not isinstance(value, wanted):
            raise ValueError(f"{name} must be {'true or false' if wanted is bool else 'a text'}")
    elif isinstance(value, bool) or not isinstance(value, int if wanted is int else int | float):
        raise ValueError(f"{name} must be a {'whole ' if wanted is int else ''}number")
    elif not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number from 0 up")
    elif name in SHARES and value > 1:
        raise ValueError(f"{name} must be a share from 0 to 1")


def _injections(given: object) -> list[Injection]:
    found = []
    for one in given if isinstance(given, list) else [given]:
        if not isinstance(one, dict) or "api" not in one:
            raise ValueError("inject takes objects with at least `api` (kommo or lemonsqueezy)")
        types = get_type_hints(Injection)
        unknown = sorted(set(one) - set(types))
        if unknown:
            raise ValueError(f"unknown key {', '.join(unknown)} in inject; known are: {', '.join(types)}")
        for name, value in one.items():
            _check(f"inject.{name}", value, types[name])
        found.append(Injection(**one))
    return found


def described() -> list[dict[str, Any]]:
    """Return every switch with its type in words, its default and its meaning."""
    types, standing = get_type_hints(Faults), Faults().settings()
    return [
        {
            "name": f.name,
            "type": _in_words(types[f.name]),
            "default": standing[f.name],
            "meaning": f.metadata["meaning"],
        }
        for f in fields(Faults)
    ]


def parsed(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE` as a person types it. Raises ValueError that says what is wrong."""
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals:
        raise ValueError(f"{text!r} must be NAME=VALUE")
    wanted = get_type_hints(Faults).get(name)
    if wanted is None or get_origin(wanted) is Literal:
        return name, value  # `update` names what is known
    if wanted is bool:
        return name, {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}.get(
            value.lower(), value
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _in_words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return " | ".join(map(str, get_args(wanted)))
    return {bool: "true | false", int: "whole number", float: "number"}.get(wanted, "JSON")
