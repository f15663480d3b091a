"""Reads from and writes to Lemon Squeezy. Lists run newest first, where not said otherwise, and know no filter by time.

Source: Lemon Squeezy reference, "Lists: paging, order, filters, includes" and "Writes".
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from dealsync.apis.border import ID_PATTERN, Refused
from dealsync.apis.lemonsqueezy import answers, normalise, normalise_shop, render
from dealsync.apis.lemonsqueezy.pages import Dated, Page, Part, Walk, back_to, collected
from dealsync.apis.lemonsqueezy.values import (
    Checkout,
    Customer,
    NewCheckout,
    OrderItem,
    Price,
    Product,
    Redemption,
    Store,
    SubscriptionItem,
    User,
    Variant,
    Webhook,
)
from dealsync.apis.pace import Pace
from dealsync.apis.transport import FixedToken, Heard, Transport
from dealsync.core.assumptions import LS_PAGE_SIZE
from dealsync.core.models import Invoice, Order, Subscription
from dealsync.errors import AnswerLost, ConfigError, Rejected, UnexpectedAnswer

JSON_API = "application/vnd.api+json"
SECRET_LENGTHS = range(6, 41)
"""Characters in the secret of a webhook. Source: reference, "Writes"."""
Row = TypeVar("Row", bound=Dated)
Pages = AsyncGenerator[Page[Row]]


@dataclass(frozen=True, slots=True)
class _Kind(Generic[Row]):
    """A type of object: where it is found, and how it is read."""

    path: str
    build: Callable[[object], Row]


STORES = _Kind("/v1/stores", normalise_shop.store)
PRODUCTS = _Kind("/v1/products", normalise_shop.product)
VARIANTS = _Kind("/v1/variants", normalise_shop.variant)
PRICES = _Kind("/v1/prices", normalise_shop.price)
CUSTOMERS = _Kind("/v1/customers", normalise.customer)
ORDERS = _Kind("/v1/orders", normalise.order)
ORDER_ITEMS = _Kind("/v1/order-items", normalise.order_item)
SUBSCRIPTIONS = _Kind("/v1/subscriptions", normalise.subscription)
SUBSCRIPTION_ITEMS = _Kind("/v1/subscription-items", normalise.subscription_item)
INVOICES = _Kind("/v1/subscription-invoices", normalise.invoice)
CHECKOUTS = _Kind("/v1/checkouts", normalise_shop.checkout)
WEBHOOKS = _Kind("/v1/webhooks", normalise_shop.webhook)
REDEMPTIONS = _Kind("/v1/discount-redemptions", normalise.redemption)


class LemonSqueezy:
    """Typed access to one account. Objects that a list holds and that cannot be read are named in `refused`.

    Reads raise Unauthorized, Rejected (404: not there), Unreachable, and UnexpectedAnswer where a filter was ignored.
    A walk is an asynchronous generator: who leaves it early closes it (`contextlib.aclosing`).
    """

    def __init__(self, *, origin: str, api_key: str, pace: Pace, retry_wait_s: float = 1.0) -> None:
        self.refused = Refused()
        self._transport = Transport(
            api="lemon_squeezy",
            origin=origin,
            auth=FixedToken(api_key),
            pace=pace,
            read_error=answers.read_error,
            headers={"Accept": JSON_API, "Content-Type": JSON_API},
            remaining_header="x-ratelimit-remaining",
            retry_wait_s=retry_wait_s,
        )

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far, by API, method and path."""
        return self._transport.requests

    @property
    def heard(self) -> Heard | None:
        """What the API's clock said last."""
        return self._transport.heard

    def guard_writes(self, guard: Callable[[], None]) -> None:
        """Call `guard` right before each write leaves; what it raises keeps the write here."""
        self._transport.before_write = guard

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # --- the key and what is sold ----------------------------------------------------------------------------

    async def key_is_test_mode(self) -> bool:
        """Return the mode of the key; raises Unauthorized for a wrong one. Source: reference, "Transport"."""
        return normalise_shop.key_is_test_mode(await self._transport.get("/v1/users/me"))

    async def user(self) -> User:
        """Return whose key it is."""
        return normalise_shop.user(await self._transport.get("/v1/users/me"))

    async def stores(self) -> list[Store]:
        """Return all stores that the key sees, by name."""
        return await self._all(STORES)

    async def store(self, store_id: str) -> Store:
        """Return a store."""
        return await self._one(STORES, store_id)

    async def products(self, store_id: str) -> list[Product]:
        """Return the products of a store in the mode of the key, by name."""
        return await self._all(PRODUCTS, store_id=store_id)

    async def product(self, product_id: str) -> Product:
        """Return a product."""
        return await self._one(PRODUCTS, product_id)

    async def variants(self, product_id: str, *, status: str | None = None) -> list[Variant]:
        """Return the variants of a product in its own order, those in one status if given."""
        return await self._all(VARIANTS, product_id=product_id, status=status)

    async def variant(self, variant_id: str) -> Variant:
        """Return a variant."""
        return await self._one(VARIANTS, variant_id)

    async def prices(self, variant_id: str) -> list[Price]:
        """Return the prices that a variant has had, newest first: the first one counts. Source: reference 5.8."""
        return await self._all(PRICES, variant_id=variant_id)

    async def price(self, price_id: str) -> Price:
        """Return a price."""
        return await self._one(PRICES, price_id)

    # --- who bought ------------------------------------------------------------------------------------------

    def customers(self, store_id: str) -> Pages[Customer]:
        """Yield pages of customers, newest first; see `orders`."""
        return self._pages(CUSTOMERS, store_id=store_id)

    async def customers_of(self, store_id: str, email: str) -> list[Customer]:
        """Return the customers of a store with an e-mail address; whether its case counts is not documented."""
        return await self._all(CUSTOMERS, store_id=store_id, email=email)

    async def customer(self, customer_id: str) -> Customer:
        """Return a customer."""
        return await self._one(CUSTOMERS, customer_id)

    # --- what was bought -------------------------------------------------------------------------------------

    def orders(self, store_id: str, *, since: datetime | None = None, first: int = 1) -> Pages[Order]:
        """Yield pages of orders, newest first: all of them, or no further back than those created at `since`.

        An order that was there all the time is not missed, and comes twice only when it changed. Pages of a long list,
        and of a shorter one where answers are slow, are read side by side; with `since`, or from page `first`, one
        after the other: none is asked for in vain.
        """
        return self._pages(ORDERS, since=since, first=first, store_id=store_id)

    async def orders_of(self, store_id: str, email: str) -> list[Order]:
        """Return the orders of a store that were bought with an e-mail address, newest first."""
        return await self._all(ORDERS, store_id=store_id, user_email=email)

    async def order(self, order_id: str) -> Order:
        """Return an order."""
        return await self._one(ORDERS, order_id)

    async def order_items(self, order_id: str) -> list[OrderItem]:
        """Return the lines of an order."""
        return await self._all(ORDER_ITEMS, order_id=order_id)

    async def discount_redemptions(self, order_id: str) -> list[Redemption]:
        """Return the discounts that were used in an order."""
        return await self._all(REDEMPTIONS, order_id=order_id)

    # --- what is paid for again and again --------------------------------------------------------------------

    def subscriptions(
        self, store_id: str, *, since: datetime | None = None, first: int = 1, status: str | None = None
    ) -> Pages[Subscription]:
        """Yield pages of subscriptions, newest first, those in one status if given; see `orders`.

        Rows enter and leave a list of one status anywhere: one can be missed while others change.
        """
        return self._pages(SUBSCRIPTIONS, since=since, first=first, store_id=store_id, status=status)

    async def subscriptions_of(self, store_id: str, email: str) -> list[Subscription]:
        """Return the subscriptions of a store that were bought with an e-mail address, newest first."""
        return await self._all(SUBSCRIPTIONS, store_id=store_id, user_email=email)

    async def subscriptions_of_order(self, order_id: str) -> list[Subscription]:
        """Return the subscriptions that an order started."""
        return await self._all(SUBSCRIPTIONS, order_id=order_id)

    async def subscription(self, subscription_id: str) -> Subscription:
        """Return a subscription."""
        return await self._one(SUBSCRIPTIONS, subscription_id)

    async def subscription_items(self, subscription_id: str) -> list[SubscriptionItem]:
        """Return what a subscription is for, with its seats."""
        return await self._all(SUBSCRIPTION_ITEMS, subscription_id=subscription_id)

    def invoices(
        self,
        store_id: str,
        *,
        since: datetime | None = None,
        first: int = 1,
        status: str | None = None,
        refunded: bool | None = None,
    ) -> Pages[Invoice]:
        """Yield pages of subscription invoices, newest first, in one status or (not) refunded in full; see `orders`.

        Rows enter and leave a list of one status anywhere: one can be missed while others change.
        """
        flag = None if refunded is None else str(refunded).lower()
        return self._pages(INVOICES, since=since, first=first, store_id=store_id, status=status, refunded=flag)

    async def invoices_of(self, subscription_id: str) -> list[Invoice]:
        """Return the invoices of a subscription, newest first."""
        return await self._all(INVOICES, subscription_id=subscription_id)

    async def invoice(self, invoice_id: str) -> Invoice:
        """Return a subscription invoice."""
        return await self._one(INVOICES, invoice_id)

    # --- checkouts -------------------------------------------------------------------------------------------

    def checkouts(
        self, store_id: str, *, variant_id: str | None = None, since: datetime | None = None
    ) -> Pages[Checkout]:
        """Yield pages of checkouts, newest first, those of one variant if given; see `orders`.

        The only read that tells custom data, and so how a checkout is found again whose making was never answered.
        """
        return self._pages(CHECKOUTS, since=since, store_id=store_id, variant_id=variant_id)

    async def checkout(self, checkout_id: str) -> Checkout:
        """Return a checkout."""
        return await self._one(CHECKOUTS, checkout_id)

    async def create_checkout(self, wanted: NewCheckout) -> Checkout:
        """Make a checkout and return it, in the mode of the key. Never repeated blind.

        Raises Rejected (404: unknown store or variant, 422: a refused value), Unreachable (nothing was sent),
        AnswerLost (look among `checkouts` before another one is made).
        """
        return await self._write("POST", CHECKOUTS, CHECKOUTS.path, render.checkout(wanted))

    # --- webhooks --------------------------------------------------------------------------------------------

    async def webhooks(self, store_id: str) -> list[Webhook]:
        """Return the webhooks of a store in the mode of the key, newest first."""
        return await self._all(WEBHOOKS, store_id=store_id)

    async def webhook(self, webhook_id: str) -> Webhook:
        """Return a webhook."""
        return await self._one(WEBHOOKS, webhook_id)

    async def create_webhook(self, store_id: str, *, url: str, events: Iterable[str], secret: str) -> Webhook:
        """Have events sent to an address, signed with the secret. Raises as `create_checkout`, and ConfigError."""
        _ensure_secret(secret)
        body = render.webhook(store_id=store_id, url=url, events=events, secret=secret)
        return await self._write("POST", WEBHOOKS, WEBHOOKS.path, body)

    async def update_webhook(
        self, webhook_id: str, *, url: str | None = None, events: Iterable[str] | None = None, secret: str | None = None
    ) -> Webhook:
        """Change what is given; events replace the whole list. The same change may be sent again."""
        if secret is not None:
            _ensure_secret(secret)
        body = render.webhook(webhook_id=webhook_id, url=url, events=events, secret=secret)
        return await self._write("PATCH", WEBHOOKS, _path_of(WEBHOOKS, webhook_id), body)

    async def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook; one that is gone already is fine, so this may be sent again."""
        try:
            await self._transport.write("DELETE", _path_of(WEBHOOKS, webhook_id))
        except Rejected as error:
            if error.status != 404:
                raise

    # --- one request, one list -------------------------------------------------------------------------------

    async def _one(self, kind: _Kind[Row], object_id: str) -> Row:
        path = _path_of(kind, object_id)
        row = kind.build(answers.single(await self._transport.get(path), path))
        if row.id != object_id:
            raise UnexpectedAnswer(f"lemon_squeezy GET {path} answered another object")
        return row

    async def _write(self, method: str, kind: _Kind[Row], path: str, body: Any) -> Row:
        """Send a write and return the object of its answer. An answer that cannot be read is lost: it did happen."""
        answer = await self._transport.write(method, path, body)
        try:
            return kind.build(answers.single(answer, path))
        except UnexpectedAnswer as error:
            raise AnswerLost(f"lemon_squeezy {method} {path}: {error}; it may have happened all the same") from error

    async def _all(self, kind: _Kind[Row], **filters: str | None) -> list[Row]:
        return await collected(self._walk(kind, filters).in_order())

    def _pages(
        self, kind: _Kind[Row], *, since: datetime | None = None, first: int = 1, **filters: str | None
    ) -> Pages[Row]:
        walk = self._walk(kind, filters)
        if since is not None:
            return walk.in_order(first=first, ends=back_to(since))
        # Objects come into a list of one status, and go, at any place of it.
        only_grows_at_its_top = not any(filters.get(name) for name in ("status", "refunded"))
        return walk.whole() if first == 1 and only_grows_at_its_top else walk.in_order(first=first)

    def _walk(self, kind: _Kind[Row], given: Mapping[str, str | None]) -> Walk[Row]:
        filters = {name: value for name, value in given.items() if value is not None}
        params = {f"filter[{name}]": value for name, value in filters.items()}
        told: set[str] = set()

        async def read(number: int) -> Part[Row]:
            answer = await self._transport.get(
                kind.path, {**params, "page[number]": number, "page[size]": LS_PAGE_SIZE}
            )
            refused = Refused()
            part = answers.part(answer, kind.path, number, filters, kind.build, refused)
            # A row that moved to the next page is refused once.
            self.refused.reasons += [reason for reason in refused.reasons if reason not in told]
            told.update(refused.reasons)
            return part

        return Walk(read, kind.path, lambda: self._transport.answer_s)


def _path_of(kind: _Kind[Any], object_id: str) -> str:
    """The path of an object. What cannot be an id is not there, and nobody needs to be asked."""
    if not re.fullmatch(ID_PATTERN, object_id):
        raise Rejected(f"lemon_squeezy {kind.path}: an id has letters, digits and hyphens only", status=404)
    return f"{kind.path}/{object_id}"


def _ensure_secret(secret: str) -> None:
    if len(secret) not in SECRET_LENGTHS:
        raise ConfigError(f"LEMON_SQUEEZY_WEBHOOK_SECRET has {len(secret)} characters; a webhook takes 6 to 40")
