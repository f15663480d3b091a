"""Where both accounts send their webhooks: to our receiver, all events we use, signed with our secret, once."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.errors import ConfigError, Rejected, Unauthorized
from dealsync.settings import Environment

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


async def register_lemon_squeezy(
    client: LemonSqueezy, environment: Environment, store_ids: Iterable[str], receiver: str
) -> list[str]:
    """See to it that each store sends its events to the receiver; return what was found and done, a line each.

    The secret is set each time, for nobody can read the one that is there. Raises ConfigError, and as the client.
    """
    if not environment.webhook_secrets:
        raise ConfigError(
            "LEMON_SQUEEZY_WEBHOOK_SECRET is missing: make one of 6 to 40 characters (openssl rand -hex 20) and set it"
        )
    if await client.key_is_test_mode() != environment.is_test_mode:
        raise ConfigError(
            "LEMON_SQUEEZY_API_KEY is a key of the other mode (test or live) than DEALSYNC_MODE: its webhooks would "
            "tell of the wrong orders"
        )
    url, lines = receiver + LEMON_SQUEEZY_PATH, list[str]()
    for store_id in store_ids:
        hooks = await client.webhooks(store_id)
        ours = sorted((hook for hook in hooks if hook.url == url), key=lambda hook: hook.created_at)
        events, secret = sorted(LEMON_SQUEEZY_EVENTS), environment.webhook_secrets[0]
        if not ours:
            made = await client.create_webhook(store_id, url=url, events=events, secret=secret)
            lines.append(f"Lemon Squeezy store {store_id}: webhook {made.id} made")
        else:
            await client.update_webhook(ours[0].id, events=events, secret=secret)
            lines.append(f"Lemon Squeezy store {store_id}: webhook {ours[0].id} was there; events and secret are set")
        lines += [f"  webhook {hook.id} sends to the same address, too: delete it there" for hook in ours[1:]]
        lines += [f"  webhook {hook.id} sends to {_host(hook.url)}" for hook in hooks if hook.url != url]
    return lines


async def register_kommo(client: Kommo, environment: Environment, receiver: str) -> list[str]:
    """The same for Kommo, whose plan or whose user's rights may forbid it; then the hourly run sees changes later."""
    token = environment.kommo_webhook_token.get_secret_value()
    if not token:
        return ["Kommo: no webhook, for KOMMO_WEBHOOK_TOKEN is not set; changes in Kommo are seen by the hourly run"]
    destination = f"{receiver}{KOMMO_PATH}{token}"
    try:
        hooks = await client.hooks()
        was_there = any(hook.destination == destination for hook in hooks)
        made = await client.register_hook(destination, KOMMO_EVENTS)
    except (Unauthorized, Rejected) as error:
        return [f"Kommo: no webhook, it refused ({error}); changes in Kommo are seen by the hourly run"]
    lines = [f"Kommo: webhook {'was there; its events are set' if was_there else 'made'}"]
    if made.is_disabled:
        lines.append("  Kommo has switched it off, because it failed too often: switch it on in Kommo's settings")
    stale = [h for h in hooks if h.destination != destination and h.destination.startswith(f"{receiver}{KOMMO_PATH}")]
    if stale:
        lines.append("  another webhook sends to this receiver with another token: delete it in Kommo's settings")
    others = [hook for hook in hooks if hook.destination != destination and hook not in stale]
    return lines + [f"  a webhook sends to {_host(hook.destination)}" for hook in others]


def _host(url: str) -> str:
    """Where a stranger's webhook goes, without the rest of its address, which may be a secret."""
    return urlsplit(url).hostname or "an address that cannot be read"
