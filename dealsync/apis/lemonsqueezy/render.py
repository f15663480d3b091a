"""What is to be made -> request bodies. What is left open is left out, never null.

Source: Lemon Squeezy reference, "Writes" and 5.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dealsync.apis.border import storable
from dealsync.apis.lemonsqueezy.values import NewCheckout
from dealsync.core.assumptions import LS_CHECKOUT_QUANTITY_PER_VARIANT
from dealsync.errors import ConfigError

Body = dict[str, Any]


def checkout(wanted: NewCheckout) -> Body:
    """Return the body of POST /v1/checkouts. Ids are trimmed: a line feed behind one makes it unknown."""
    variant_id = wanted.variant_id.strip()
    attributes = _filled(
        {
            "custom_price": wanted.custom_price.minor if wanted.custom_price else None,
            "product_options": _product_options(wanted, variant_id),
            "checkout_options": {} if LS_CHECKOUT_QUANTITY_PER_VARIANT else _filled({"quantity": wanted.quantity}),
            "checkout_data": _checkout_data(wanted, variant_id),
            "expires_at": _time(wanted.expires_at) if wanted.expires_at else None,
        }
    )
    relationships = {"store": _link("stores", wanted.store_id.strip()), "variant": _link("variants", variant_id)}
    return {
        "data": {"type": "checkouts", "attributes": {**attributes, "preview": False}, "relationships": relationships}
    }


def webhook(
    *,
    webhook_id: str | None = None,
    store_id: str | None = None,
    url: str | None = None,
    events: Iterable[str] | None = None,
    secret: str | None = None,
) -> Body:
    """Return the body of POST /v1/webhooks, or of PATCH when there is an id. Events replace the whole list."""
    listed = None if events is None else sorted(events)
    given = {"url": url, "events": listed, "secret": secret}
    data: Body = {"type": "webhooks", "attributes": {key: value for key, value in given.items() if value is not None}}
    if webhook_id:
        data["id"] = webhook_id
    if store_id:
        data["relationships"] = {"store": _link("stores", store_id.strip())}
    return {"data": data}


def _product_options(wanted: NewCheckout, variant_id: str) -> Body:
    names = (
        "redirect_url",
        "receipt_button_text",
        "receipt_link_url",
        "receipt_thank_you_note",
        "confirmation_title",
        "confirmation_message",
        "confirmation_button_text",
    )
    options = _filled({name: _text(getattr(wanted, name)) for name in names})
    return {**options, "enabled_variants": [_number(variant_id)]} if wanted.only_this_variant else options


def _checkout_data(wanted: NewCheckout, variant_id: str) -> Body:
    quantity = wanted.quantity if LS_CHECKOUT_QUANTITY_PER_VARIANT else None
    return _filled(
        {
            "email": _text(wanted.email),
            "name": _text(wanted.name),
            "discount_code": _text(wanted.discount_code),
            "custom": _filled({key: _text(value) for key, value in wanted.custom.items()}),
            "variant_quantities": [{"variant_id": _number(variant_id), "quantity": quantity}] if quantity else None,
        }
    )


def _filled(values: Mapping[str, Any]) -> Body:
    """Leave out what is None or empty. An empty custom value is refused, and an empty list means nothing."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", {}, [])}


def _text(value: str | int | None) -> str | None:
    """Custom values must be texts. Source: reference, "Writes"."""
    return None if value is None else storable(str(value)).strip()


def _number(variant_id: str) -> int:
    """Inside attributes a foreign id is a number."""
    if not (variant_id.isascii() and variant_id.isdecimal()):
        raise ConfigError(f"{variant_id!r} is no id of a variant: it has digits only, as in the address of its page")
    return int(variant_id)


def _time(moment: datetime) -> str:
    """A time as the API writes it: UTC with microseconds. A naive one is refused, for nobody knows when it is."""
    if moment.tzinfo is None:
        raise ValueError("a checkout cannot end at a naive time")
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _link(kind: str, object_id: str) -> Body:
    return {"data": {"type": kind, "id": object_id}}
