"""DS201 to DS209: the token, its rights, the webhook."""

from __future__ import annotations

from datetime import timedelta

from dealsync.access import kommo_access_ends_at
from dealsync.apis.kommo.normalise import Account, Hook
from dealsync.checks.context import Context
from dealsync.checks.rates import rate
from dealsync.checks.verdicts import Check, Skip, failed, ok, warning
from dealsync.core.checkup import Verdict
from dealsync.core.tokens import jwt_ends_at
from dealsync.errors import Unauthorized
from dealsync.registering import KOMMO_EVENTS, KOMMO_PATH


async def token(context: Context) -> Verdict:
    """Ask whose token it is."""
    account = await account_of(context)
    return ok(f"{account.name} ({account.account_id})")


async def lasting(context: Context) -> Verdict:
    """Read when the token ends, from itself or from what is stored of it."""
    given, now = context.environment.kommo_token, context.clock()
    if given is None and not context.is_migrated:
        raise Skip("needs DS302")
    if given is None:
        ends_at = kommo_access_ends_at(context.environment, context.store.limits, now)
    else:
        ends_at = jwt_ends_at(given.get_secret_value())
    if ends_at is None:
        if given is None:
            return failed("there are no tokens yet: dealsync init exchanges KOMMO_AUTH_CODE")
        return ok("it does not say when it ends")
    when = f"{ends_at:%Y-%m-%d %H:%M} UTC"
    if ends_at <= now:
        return failed(f"it ended at {when}")
    if ends_at - now < timedelta(days=context.alerts.token_days):
        return warning(f"it ends at {when}")
    return ok(f"until {when}, if no run renews it before" if given is None else f"until {when}")


async def limit(context: Context) -> Verdict:
    """Look at the pace that all processes share."""
    return rate(context, "kommo", context.environment.kommo_origin)


async def domain(context: Context) -> Verdict:
    """Compare the account's name with ours."""
    ours, its = context.environment.kommo_domain, (await account_of(context)).subdomain
    return (
        ok(ours) if ours.partition(".")[0] == its else warning(f"KOMMO_DOMAIN is {ours}, the account is called {its}")
    )


async def rights(context: Context) -> Verdict:
    """Read what only an admin may."""
    try:
        return ok(f"it may read users ({len(await context.users())}), and so make fields and webhooks")
    except Unauthorized as error:
        if error.status != 403:
            raise
        return failed("its user is no admin: Kommo refuses the list of users")


async def plan(context: Context) -> Verdict:
    """Read the list of webhooks."""
    hooks = await context.hooks()
    return warning(f"it refuses: {hooks}") if isinstance(hooks, str) else ok(f"{len(hooks)} in this account")


async def webhook(context: Context) -> Verdict:
    """Count the webhooks to our receiver."""
    destination, hooks = _destination(context), await _hooks(context)
    found = [hook for hook in hooks if hook.destination == destination]
    receiver = f"{context.settings.config.receiver.url}{KOMMO_PATH}"
    stale = [hook for hook in hooks if hook.destination.startswith(receiver) and hook.destination != destination]
    if stale:
        return failed(f"{len(stale)} with another token than KOMMO_WEBHOOK_TOKEN; {len(found)} with it")
    if len(found) != 1:
        return failed(f"{len(found)} to our receiver, {len(hooks) - len(found)} to other addresses")
    return ok("it is there")


async def events(context: Context) -> Verdict:
    """Compare the events of the webhook with those that dealsync uses."""
    missing = sorted(set(KOMMO_EVENTS) - set((await _ours(context)).events))
    return failed(f"it does not tell of {', '.join(missing)}") if missing else ok(f"all {len(KOMMO_EVENTS)}")


async def switched_on(context: Context) -> Verdict:
    """Look whether Kommo has switched the webhook off."""
    return failed("Kommo has switched it off") if (await _ours(context)).is_disabled else ok("it is")


async def account_of(context: Context) -> Account:
    """Return the account."""
    return await context.once("account", context.kommo.account)


async def _hooks(context: Context) -> list[Hook]:
    hooks = await context.hooks()
    if isinstance(hooks, str):
        raise Skip("needs DS206")
    return hooks


async def _ours(context: Context) -> Hook:
    destination = _destination(context)
    return next(hook for hook in await _hooks(context) if hook.destination == destination)


def _destination(context: Context) -> str:
    """Where Kommo should send: a secret."""
    receiver = context.settings.config.receiver.url
    secret = context.environment.kommo_webhook_token.get_secret_value()
    if not receiver or not secret:
        raise Skip(f"{'KOMMO_WEBHOOK_TOKEN' if receiver else 'receiver.url'} is not set")
    return f"{receiver}{KOMMO_PATH}{secret}"


CHECKS: dict[str, Check] = {
    "DS201": token,
    "DS202": lasting,
    "DS203": limit,
    "DS204": domain,
    "DS205": rights,
    "DS206": plan,
    "DS207": webhook,
    "DS208": events,
    "DS209": switched_on,
}
