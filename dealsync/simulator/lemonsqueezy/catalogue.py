"""Which resource types there are: their default sort, filters and relations.

Source: Lemon Squeezy reference, section 3 (sorts, filters, includes) and section 5 (relationships).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dealsync.simulator.assumptions import AFFILIATE_SORT, EMAIL_FILTER_IS_EXACT, ORDER_ITEM_SORT, USAGE_RECORD_SORT
from dealsync.simulator.clock import unix
from dealsync.simulator.table import Record, Table


@dataclass(frozen=True)
class Relation:
    """How one type leads to another.

    To one: `key` is the attribute of this type that holds the other's id. To many: `key` is the attribute of the
    other type that holds this one's id.
    """

    name: str  # as in `relationships`: "order-items"
    target: str  # resource type
    key: str
    many: bool = False


@dataclass(frozen=True)
class ResourceType:
    """One resource type as its list shows it."""

    name: str  # "orders": the path and `data.type`
    sort: str  # as echoed in links; "-" means descending
    filters: tuple[str, ...]  # names inside filter[...]
    relations: tuple[Relation, ...]

    @property
    def descending(self) -> bool:
        """Newest first, for the types that are sorted so."""
        return self.sort.startswith("-")

    def relation(self, name: str) -> Relation | None:
        """Return a relation by name; None when this type has no such."""
        return next((one for one in self.relations if one.name == name), None)

    def table(self) -> Table:
        """Return an empty table in the default order, indexed by every filter and by what leads here."""
        orders: dict[str, Callable[[Record], Any]] = {"default": _sort_key(self.sort.lstrip("-"))}
        if self.name == "subscriptions":
            orders["due"] = due
        more = ("test_mode", "id") if self.name == "checkouts" else ("test_mode",)
        names = dict.fromkeys((*self.filters, *_KEYS_TO.get(self.name, ()), *more))
        return Table(orders=orders, indexes={name: _index_key(name) for name in names})


def due(subscription: Record) -> int | None:
    """Return when a subscription's next period begins, in Unix seconds; None for one that has no next."""
    attributes = subscription["attributes"]
    name = {"active": "renews_at", "on_trial": "trial_ends_at", "paused": "renews_at"}.get(attributes["status"])
    return unix(attributes[name]) if name and attributes.get(name) else None


def _sort_key(name: str) -> Callable[[Record], Any]:
    if name == "id":
        return lambda record: int(record["id"])
    attribute = {"createdAt": "created_at"}.get(name, name)
    empty: Any = 0 if attribute == "sort" else ""
    return lambda record: record["attributes"].get(attribute, empty)


def _index_key(name: str) -> Callable[[Record], Any]:
    if name == "id":
        return lambda record: record["id"]
    return lambda record: filter_key(name, record["attributes"].get(name))


def filter_key(name: str, value: object) -> str:
    """Return a value as a filter compares it: `true`/`false`, digits, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    exact = EMAIL_FILTER_IS_EXACT or name not in ("email", "user_email")
    return text if exact else text.casefold()


STORE = Relation("store", "stores", "store_id")
CUSTOMER = Relation("customer", "customers", "customer_id")
ORDER = Relation("order", "orders", "order_id")
ORDER_ITEM = Relation("order-item", "order-items", "order_item_id")
PRODUCT = Relation("product", "products", "product_id")
VARIANT = Relation("variant", "variants", "variant_id")
SUBSCRIPTION = Relation("subscription", "subscriptions", "subscription_id")


def _many(key: str, *targets: str) -> tuple[Relation, ...]:
    return tuple(Relation(target, target, key, many=True) for target in targets)


TYPES = {
    resource.name: resource
    for resource in (
        ResourceType(
            "stores",
            "name",
            (),
            _many("store_id", "products", "orders", "subscriptions", "discounts", "license-keys", "webhooks"),
        ),
        ResourceType("products", "name", ("store_id",), (STORE, *_many("product_id", "variants"))),
        ResourceType(
            "variants",
            "sort",
            ("product_id", "status"),
            # A variant has had several prices; the newest counts (5.8). See Books.related.
            (PRODUCT, *_many("variant_id", "files"), Relation("price-model", "prices", "variant_id")),
        ),
        ResourceType("prices", "-created_at", ("variant_id",), (VARIANT,)),
        ResourceType("files", "sort", ("variant_id",), (VARIANT,)),
        ResourceType(
            "customers",
            "-createdAt",
            ("store_id", "email"),
            (STORE, *_many("customer_id", "orders", "subscriptions", "license-keys")),
        ),
        ResourceType(
            "orders",
            "-createdAt",
            ("store_id", "user_email", "order_number"),
            (
                STORE,
                CUSTOMER,
                *_many("order_id", "order-items", "subscriptions", "license-keys", "discount-redemptions"),
            ),
        ),
        ResourceType(
            "order-items", ORDER_ITEM_SORT, ("order_id", "product_id", "variant_id"), (ORDER, PRODUCT, VARIANT)
        ),
        ResourceType(
            "subscriptions",
            "-createdAt",
            ("store_id", "order_id", "order_item_id", "product_id", "variant_id", "user_email", "status"),
            (
                STORE,
                CUSTOMER,
                ORDER,
                ORDER_ITEM,
                PRODUCT,
                VARIANT,
                *_many("subscription_id", "subscription-items", "subscription-invoices"),
            ),
        ),
        ResourceType(
            "subscription-items",
            "-created_at",
            ("subscription_id", "price_id"),
            (SUBSCRIPTION, Relation("price", "prices", "price_id"), *_many("subscription_item_id", "usage-records")),
        ),
        ResourceType(
            "subscription-invoices",
            "-createdAt",
            ("store_id", "status", "refunded", "subscription_id"),
            (STORE, SUBSCRIPTION, CUSTOMER),
        ),
        ResourceType("checkouts", "-createdAt", ("store_id", "variant_id"), (STORE, VARIANT)),
        ResourceType(
            "discounts",
            "createdAt",
            ("store_id",),
            # Which variants a discount is limited to is no attribute: see Books.related.
            (STORE, Relation("variants", "variants", "", many=True), *_many("discount_id", "discount-redemptions")),
        ),
        ResourceType(
            "discount-redemptions",
            "-createdAt",
            ("discount_id", "order_id"),
            (Relation("discount", "discounts", "discount_id"), ORDER),
        ),
        ResourceType(
            "license-keys",
            "id",
            ("store_id", "order_id", "order_item_id", "product_id", "status"),
            (STORE, CUSTOMER, ORDER, ORDER_ITEM, PRODUCT, *_many("license_key_id", "license-key-instances")),
        ),
        ResourceType(
            "license-key-instances",
            "id",
            ("license_key_id",),
            (Relation("license-key", "license-keys", "license_key_id"),),
        ),
        ResourceType("webhooks", "-createdAt", ("store_id",), (STORE,)),
        ResourceType(
            "affiliates", AFFILIATE_SORT, ("store_id", "user_email"), (STORE, Relation("user", "users", "user_id"))
        ),
        ResourceType(
            "usage-records",
            USAGE_RECORD_SORT,
            ("subscription_item_id",),
            (Relation("subscription-item", "subscription-items", "subscription_item_id"),),
        ),
    )
}


def _keys_to() -> dict[str, list[str]]:
    """Return, by target type, the attributes its to-many relations are looked up by."""
    found: dict[str, list[str]] = {}
    for kind in TYPES.values():
        for relation in kind.relations:
            if relation.many and relation.key:
                found.setdefault(relation.target, []).append(relation.key)
    found["prices"] = ["variant_id"]
    return found


_KEYS_TO = _keys_to()
