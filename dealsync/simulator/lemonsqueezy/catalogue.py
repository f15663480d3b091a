"""Which resource types there are: their default sort, filters and relations.

Source: Lemon Squeezy reference, section 3 (sorts, filters) and section 5 (relationships).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dealsync.simulator.assumptions import EMAIL_FILTER_IS_EXACT, ORDER_ITEM_SORT
from dealsync.simulator.table import Record, Table


@dataclass(frozen=True)
class ResourceType:
    """One resource type as its list shows it."""

    name: str  # "orders": the path and `data.type`
    sort: str  # as echoed in links; "-" means descending
    filters: tuple[str, ...]  # names inside filter[...]
    relations: tuple[str, ...]

    @property
    def descending(self) -> bool:
        """Newest first, for the types that are sorted so."""
        return self.sort.startswith("-")

    def table(self) -> Table:
        """Return an empty table in the default order, indexed by every filter."""
        return Table(
            orders={"default": _sort_key(self.sort.lstrip("-"))},
            indexes={name: _index_key(name) for name in self.filters},
        )


def _sort_key(name: str) -> Callable[[Record], Any]:
    if name == "id":
        return lambda record: int(record["id"])
    attribute = {"createdAt": "created_at"}.get(name, name)
    empty: Any = 0 if attribute == "sort" else ""
    return lambda record: record["attributes"].get(attribute, empty)


def _index_key(name: str) -> Callable[[Record], Any]:
    return lambda record: filter_key(name, record["attributes"].get(name))


def filter_key(name: str, value: object) -> str:
    """Return a value as a filter compares it: `true`/`false`, digits, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    exact = EMAIL_FILTER_IS_EXACT or name not in ("email", "user_email")
    return text if exact else text.casefold()


TYPES = {
    resource.name: resource
    for resource in (
        ResourceType(
            "stores",
            "name",
            (),
            ("products", "orders", "subscriptions", "discounts", "license-keys", "webhooks"),
        ),
        ResourceType("products", "name", ("store_id",), ("store", "variants")),
        ResourceType("variants", "sort", ("product_id", "status"), ("product", "files", "price-model")),
        ResourceType(
            "customers",
            "-createdAt",
            ("store_id", "email"),
            ("store", "orders", "subscriptions", "license-keys"),
        ),
        ResourceType(
            "orders",
            "-createdAt",
            ("store_id", "user_email", "order_number"),
            ("store", "customer", "order-items", "subscriptions", "license-keys", "discount-redemptions"),
        ),
        ResourceType(
            "order-items",
            ORDER_ITEM_SORT,
            ("order_id", "product_id", "variant_id"),
            ("order", "product", "variant"),
        ),
        ResourceType(
            "subscriptions",
            "-createdAt",
            ("store_id", "order_id", "order_item_id", "product_id", "variant_id", "user_email", "status"),
            (
                "store",
                "customer",
                "order",
                "order-item",
                "product",
                "variant",
                "subscription-items",
                "subscription-invoices",
            ),
        ),
        ResourceType(
            "subscription-invoices",
            "-createdAt",
            ("store_id", "status", "refunded", "subscription_id"),
            ("store", "subscription", "customer"),
        ),
    )
}
