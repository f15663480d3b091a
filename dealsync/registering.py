"""Where both accounts send their webhooks: which of them come to our receiver, and how they are made right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Hook
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.lemonsqueezy.values import Webhook
from dealsync.errors import ConfigError
from dealsync.settings import Environment

T = TypeVar("T")

LEMON_SQUEEZY_PATH = "/webhooks/lemon-squeezy"
KOMMO_PATH = "/webhooks/kommo/"
LEMON_SQUEEZY_EVENTS = (
    "order_created",
    "order_refunded",
    "subscription_created",
    "subscription_updated",
    "subscription_cancelled",
    "subscription_resumed",
    "subscription_expired",
    "subscription_paused",
    "subscription_unpaused",
    "subscription_payment_success",
    "subscription_payment_failed",
    "subscription_payment_recovered",
    "subscription_payment_refunded",
)
"""Every event about money or subscriptions. Source: Lemon Squeezy reference, 7.1."""
KOMMO_EVENTS = ("add_lead", "update_lead", "delete_lead", "restore_lead", "responsible_lead", "status_lead")
"""Every change of a deal. Source: Kommo reference, 5.8 and 6.1."""
PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The webhooks of an account, by what they are to our receiver."""

    ours: tuple[T, ...]  # to the receiver, the oldest first: one is enough
    former: tuple[T, ...]  # to a path of ours elsewhere: a receiver that was
    others: tuple[T, ...]  # somebody else's


async def lemon_squeezy_hooks(client: LemonSqueezy, store_id: str, receiver: str) -> Found[Webhook]:
    """Return the webhooks of a store in the mode of the key."""
    wanted = address_key(receiver + LEMON_SQUEEZY_PATH)
    hooks = sorted(await client.webhooks(store_id), key=lambda hook: hook.created_at)
    return _sorted_out(
        hooks,
        is_ours=lambda hook: address_key(hook.url) == wanted,
        was_ours=lambda hook: address_key(hook.url).endswith(LEMON_SQUEEZY_PATH),
    )


async def kommo_hooks(client: Kommo, destination: str) -> Found[Hook]:
    """Return the account's webhooks. Raises Unauthorized and Rejected where plan or rights forbid to see them."""
    wanted = plain_address(destination)
    return _sorted_out(
        await client.hooks(),
        is_ours=lambda hook: plain_address(hook.destination) == wanted,
        was_ours=lambda hook: KOMMO_PATH in hook.destination,
    )


def kommo_destination(environment: Environment, receiver: str) -> str:
    """Return where Kommo is to send its webhooks: a secret, for Kommo signs nothing. Empty if there is no token."""
    token = environment.kommo_webhook_token.get_secret_value()
    return f"{receiver}{KOMMO_PATH}{token}" if token else ""


async def ensure_can_register(client: LemonSqueezy, environment: Environment) -> None:
    """Raise ConfigError if webhooks could not be signed, or would tell of the orders of the other mode."""
    if not environment.webhook_secrets:
        raise ConfigError(
            "LEMON_SQUEEZY_WEBHOOK_SECRET is missing: make one of 6 to 40 characters (openssl rand -hex 20) and set it"
        )
    if await client.key_is_test_mode() != environment.is_test_mode:
        raise ConfigError(
            "LEMON_SQUEEZY_API_KEY is a key of the other mode (test or live) than DEALSYNC_MODE: its webhooks would "
            "tell of the wrong orders"
        )


def receiver_address(typed: str) -> str:
    """Return the receiver's address in the one form that is written down, whatever of its paths was typed, too."""
    address = plain_address(typed)
    for path in (LEMON_SQUEEZY_PATH, KOMMO_PATH.rstrip("/")):
        if address.casefold().endswith(path):
            return address[: -len(path)]
    return address


def plain_address(url: str) -> str:
    """Return an address without what makes no difference: case of scheme and host, usual port, slash at the end."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url.strip()
    scheme = parts.scheme.lower()
    host = parts.netloc.lower().removesuffix(PORTS.get(scheme, "\0"))
    return parts._replace(scheme=scheme, netloc=host, path=parts.path.rstrip("/")).geturl()


def address_key(url: str) -> str:
    """Return an address as two spellings of it are compared. Only where no secret is a part of it."""
    return plain_address(url).casefold()


def host_of(url: str) -> str:
    """Where a stranger's webhook goes, without the rest of its address, which may be a secret."""
    try:
        return urlsplit(url).hostname or "an address that cannot be read"
    except ValueError:
        return "an address that cannot be read"


def _sorted_out(hooks: Iterable[T], *, is_ours: Callable[[T], bool], was_ours: Callable[[T], bool]) -> Found[T]:
    every = list(hooks)
    ours = tuple(filter(is_ours, every))
    former = tuple(hook for hook in every if hook not in ours and was_ours(hook))
    return Found(ours, former, tuple(hook for hook in every if hook not in ours and hook not in former))
