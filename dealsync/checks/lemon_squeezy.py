"""DS1xx: the key, the stores, what is sold, the webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from dealsync.apis.lemonsqueezy.values import Webhook
from dealsync.checks.context import Context
from dealsync.checks.rates import rate
from dealsync.checks.verdicts import Check, Skip, failed, ok, warning
from dealsync.core.checkup import Verdict
from dealsync.core.evidence import Sender
from dealsync.errors import Rejected
from dealsync.registering import LEMON_SQUEEZY_EVENTS, LEMON_SQUEEZY_PATH

PATIENCE = timedelta(minutes=10)
"""How much later than it was sent an event may come: LS tries for three minutes."""


async def key(context: Context) -> Verdict:
    """Ask whose key it is."""
    await _is_test_mode(context)
    return ok("Lemon Squeezy takes it")


async def mode(context: Context) -> Verdict:
    """Compare the modes."""
    keys, ours = (
        "test" if test else "live" for test in (await _is_test_mode(context), context.environment.is_test_mode)
    )
    return ok(f"both are {ours}") if keys == ours else failed(f"the key is one of {keys} mode, DEALSYNC_MODE is {ours}")


async def stores(context: Context) -> Verdict:
    """Look for the stores among the key's."""
    known = {store.id: store.name for store in await context.once("stores", context.lemon_squeezy.stores)}
    wanted = [context.environment.lemon_squeezy_store_id]
    if context.has_settings:
        wanted = context.store_ids
    missing = [store_id for store_id in wanted if store_id not in known]
    if missing:
        seen = ", ".join(f"{name} ({store_id})" for store_id, name in known.items()) or "none"
        return failed(f"no store of this key: {', '.join(missing)}; it sees: {seen}")
    return ok(", ".join(f"{known[store_id]} ({store_id})" for store_id in wanted))


async def variants(context: Context) -> Verdict:
    """Look up every variant that a checkout may be made of."""
    wanted = sorted(set(_variants(context)))
    if not wanted:
        return warning("neither LEMON_SQUEEZY_VARIANT_ID nor checkout.variants names one: deals get no checkout links")
    faults = [fault for variant_id, store_id in wanted if (fault := await _fault(context, variant_id, store_id))]
    return failed("; ".join(faults)) if faults else ok(", ".join(variant_id for variant_id, _ in wanted))


async def webhook(context: Context) -> Verdict:
    """Count the webhooks to our receiver, in each store."""
    faults = []
    for store_id in context.store_ids:
        found = await _ours(context, store_id)
        if not found:
            others = len(await context.webhooks(store_id))
            faults.append(f"store {store_id} has no webhook to the receiver ({others} to other addresses)")
        elif len(found) > 1:
            faults.append(f"store {store_id} has {len(found)}: {', '.join(hook.id for hook in found)}")
    return failed("; ".join(faults)) if faults else ok(f"{len(context.store_ids)} of {len(context.store_ids)} stores")


async def events(context: Context) -> Verdict:
    """Compare the events of each webhook with those that dealsync uses."""
    hooks = [hook for store_id in context.store_ids for hook in await _ours(context, store_id)]
    faults = [
        f"webhook {hook.id} does not tell of {', '.join(missing)}"
        for hook in hooks
        if (missing := sorted(set(LEMON_SQUEEZY_EVENTS) - hook.events))
    ]
    return failed("; ".join(faults)) if faults else ok(f"all {len(LEMON_SQUEEZY_EVENTS)}")


async def deliveries(context: Context) -> Verdict:
    """Compare when Lemon Squeezy sent last with when something came."""
    hooks = [hook for store_id in context.store_ids for hook in await _ours(context, store_id)]
    sent = max((hook.last_sent_at for hook in hooks if hook.last_sent_at is not None), default=None)
    last = context.store.inbox.last_from(Sender.LEMON_SQUEEZY)
    came = f"the last event came at {last.received_at:%Y-%m-%d %H:%M} UTC" if last else "no event ever came"
    if sent is None:
        return ok(f"nothing was sent yet; {came}")
    words = f"sent at {sent:%Y-%m-%d %H:%M} UTC, {came}"
    if last is None:
        return failed(words)
    return warning(words) if sent - last.received_at > PATIENCE else ok(words)


async def limit(context: Context) -> Verdict:
    """Look at the pace that all processes share."""
    return rate(context, "lemon_squeezy", context.environment.lemon_squeezy_api_url)


async def _is_test_mode(context: Context) -> bool:
    return await context.once("mode", context.lemon_squeezy.key_is_test_mode)


def _variants(context: Context) -> Iterator[tuple[str, str]]:
    own = context.environment.lemon_squeezy_store_id
    if context.environment.lemon_squeezy_variant_id:
        yield context.environment.lemon_squeezy_variant_id, own
    for entry in context.settings.config.checkout.variants:
        yield entry.variant, entry.store or own


async def _fault(context: Context, variant_id: str, store_id: str) -> str:
    client = context.lemon_squeezy
    try:
        product = await client.product((await client.variant(variant_id)).product_id)
    except Rejected as error:
        if error.status != 404:
            raise
        return f"variant {variant_id} is not there in this mode"
    return "" if product.store_id == store_id else f"variant {variant_id} belongs to store {product.store_id}"


async def _ours(context: Context, store_id: str) -> list[Webhook]:
    receiver = context.settings.config.receiver.url
    if not receiver:
        raise Skip("receiver.url is not set")
    return [hook for hook in await context.webhooks(store_id) if hook.url == receiver + LEMON_SQUEEZY_PATH]


CHECKS: dict[str, Check] = {
    "DS101": key,
    "DS102": mode,
    "DS103": stores,
    "DS104": variants,
    "DS105": webhook,
    "DS106": events,
    "DS107": deliveries,
    "DS108": limit,
}
