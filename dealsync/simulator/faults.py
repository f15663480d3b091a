"""Switches: what a request meets besides the documented behaviour.

Defaults follow the reference's simulator contract (kommo reference, section 8). Everything is set by name
through POST /control/faults or straight on the object in a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

How = Literal["answer", "apply_then_504", "apply_then_drop", "drop"]


@dataclass
class Injection:
    """A one-shot fault: it hits the next `times` requests that match, then is gone."""

    api: Literal["kommo", "lemonsqueezy"]
    path: str = "/"  # prefix below the API's root, e.g. "/api/v4/leads" or "/v1/orders"
    method: str = "*"  # "*" is any
    times: int = 1
    how: How = "answer"  # answer instead of doing; or do, then answer 504 / cut; or cut without doing
    status: int = 500  # of "answer"
    html: bool = False  # body of "answer": HTML instead of JSON

    def hits(self, api: str, method: str, path: str) -> bool:
        """Tell whether this fault is for the request."""
        return self.api == api and self.method in ("*", method) and path.startswith(self.path)


@dataclass
class Faults:
    """Current settings; `settings()` lists them with their values."""

    latency_ms: int = 0  # wait before every API answer
    filters_enabled: bool = True  # Kommo: off ignores every filter[...] (2.4)
    custom_field_filter: bool = False  # Kommo: filter[custom_fields_values], which its own page does not list
    search_lag_s: float = 5.0  # Kommo: until `query` finds what was written
    list_lag_s: float = 2.0  # Kommo: until filter[updated_at] shows what was written
    batch_mode: Literal["all_or_nothing", "apply_valid"] = "all_or_nothing"  # Kommo: on a 400
    kommo_limit_enabled: bool = True
    kommo_per_second: int = 7
    kommo_block_after: int = 20  # more 429s than this in a minute: HTML 403 for everything
    kommo_retry_after_s: int = 300  # `retry_after` of the 429 body
    ls_limit_enabled: bool = True
    ls_per_minute: int = 300
    limit_over_250: Literal["clamp", "fallback_50", "refuse"] = "clamp"  # Kommo: `limit` above 250 (1.3)
    minor_units: bool = False  # Kommo: accept decimals in price, show price_with_minor_units (2.8)
    single_patch_shape: Literal["wrapped", "bare"] = "wrapped"  # Kommo: answer of PATCH /…/{id} (2.7)
    relink_500: bool = True  # Kommo: linking a linked contact answers 500 (5.2)
    shuffle_batch_answers: bool = False  # Kommo: items of a write's answer in another order
    noop_moves_updated_at: bool = False  # Kommo: a PATCH that changes nothing (2.7)
    partial_refund_status: Literal["partial_refund", "paid"] = "partial_refund"  # Lemon Squeezy (6)
    test_mode_visible: bool = True  # Lemon Squeezy: off hides the other mode's objects from the key, as documented
    inject: list[Injection] = field(default_factory=list)

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

    def take(self, api: str, method: str, path: str) -> Injection | None:
        """Return the first pending fault for this request, and use it up once."""
        for one in self.inject:
            if one.hits(api, method, path):
                one.times -= 1
                if one.times <= 0:
                    self.inject.remove(one)
                return one
        return None


def _check(name: str, value: object, wanted: Any) -> None:
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ValueError(f"{name} must be one of: {', '.join(map(str, get_args(wanted)))}")
    elif wanted is bool or wanted is str:
        if not isinstance(value, wanted):
            raise ValueError(f"{name} must be {'true or false' if wanted is bool else 'a text'}")
    elif isinstance(value, bool) or not isinstance(value, int if wanted is int else int | float) or value < 0:
        raise ValueError(f"{name} must be a number from 0 up")


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
