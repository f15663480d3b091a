"""What is special about the deals of a store, product or variant: pipeline, tags, name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import DictLoader, StrictUndefined, Template, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from dealsync.core import texts
from dealsync.core.models import Order

NAME_VARIABLES = (
    "product", "variant", "number", "order_id", "buyer", "email", "amount", "currency", "quantity", "custom",
)  # fmt: skip
"""What a name template may use; `amount` is in major units ("490.00"), `custom` the custom data by key."""
_FAULTS = (TemplateError, AttributeError, RecursionError, TypeError, ValueError)
"""What a wrong template ends in: its expressions raise as Python's do."""
_ACCIDENTS = (ArithmeticError, LookupError)
"""What a sound one can end in where an order's values do not suit it."""
_environment = SandboxedEnvironment(loader=DictLoader({}), undefined=StrictUndefined, autoescape=False)
_environment.globals.clear()  # a name needs neither ranges nor blind text


@dataclass(frozen=True, slots=True)
class ProductRule:
    """One entry of the product mapping. Empty ids fit everything; what it leaves open, a wider entry may say."""

    store_id: str = ""
    product_id: str = ""
    variant_id: str = ""
    pipeline_id: int | None = None
    attention_status_id: int | None = None  # in that pipeline
    tag: str = ""
    name: str = ""  # Jinja2 template of the deal's name

    def fits(self, order: Order) -> bool:
        """Whether this entry speaks of the order's store, product and variant."""
        return (
            self.store_id in ("", order.store_id)
            and self.product_id in ("", order.product_id)
            and self.variant_id in ("", order.variant_id)
        )

    @property
    def precision(self) -> tuple[bool, bool, bool]:
        """How narrow the entry is: greater before smaller."""
        return bool(self.variant_id), bool(self.product_id), bool(self.store_id)


def rule_for(order: Order, rules: tuple[ProductRule, ...]) -> ProductRule:
    """Return what the entries that fit an order say together: variant before product before store before all.

    Of equally narrow entries the later one wins. An attention status counts only for its own entry's pipeline.
    """
    fitting = [rule for rule in reversed(rules) if rule.fits(order)]
    fitting.sort(key=lambda rule: rule.precision, reverse=True)
    pipeline_id = next((rule.pipeline_id for rule in fitting if rule.pipeline_id is not None), None)
    statuses = (rule.attention_status_id for rule in fitting if rule.pipeline_id == pipeline_id)
    return ProductRule(
        pipeline_id=pipeline_id,
        attention_status_id=next((status_id for status_id in statuses if status_id is not None), None),
        tag=next((rule.tag for rule in fitting if rule.tag), ""),
        name=next((rule.name for rule in fitting if rule.name), ""),
    )


def deal_name(template: str, order: Order, custom: Mapping[str, str]) -> str:
    """Return the name of an order's deal, on one line: by the template, or the plain one where that gives none.

    A template fails for an order that lacks what it asks for, such as a key of the custom data.
    """
    try:
        name = _one_line(_compiled(template).render(_values(order, custom)))
    except (*_FAULTS, *_ACCIDENTS):
        name = ""
    return name or f"{texts.product_name(order)}, order {order.number}"


def check_name(template: str) -> None:
    """Raise ValueError if a name template can work for no order: syntax, unknown variables, forbidden access."""
    try:
        unknown = find_undeclared_variables(_environment.parse(template)) - set(NAME_VARIABLES)
    except TemplateError as error:
        raise ValueError(f"is no template: {_one_line(str(error))}") from error
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown in a name, which has {', '.join(NAME_VARIABLES)}")
    try:
        _compiled(template).render(_SAMPLE)
    except _FAULTS as error:
        raise ValueError(f"is a template that fails: {_one_line(str(error))}") from error
    except _ACCIDENTS:
        return  # another order may have better values


class _Any(dict[str, str]):
    """Custom data that has every key: which there will be, nobody knows before an order comes."""

    def __missing__(self, key: str) -> str:
        return "text"

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


_SAMPLE = dict.fromkeys(NAME_VARIABLES, "text") | {"number": 1, "amount": "490.00", "quantity": 1, "custom": _Any()}


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _environment.from_string(template)


def _values(order: Order, custom: Mapping[str, str]) -> dict[str, Any]:
    return {
        "product": order.product_name,
        "variant": order.variant_name,
        "number": order.number,
        "order_id": order.id,
        "buyer": order.user_name,
        "email": order.user_email,
        "amount": f"{order.total.major:f}",
        "currency": order.total.currency,
        "quantity": order.quantity,
        "custom": dict(custom),
    }


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= texts.NAME_LIMIT else f"{line[: texts.NAME_LIMIT - 1]}…"
