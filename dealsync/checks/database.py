"""DS3xx: the database and the file of turns."""

from __future__ import annotations

from datetime import UTC, datetime

from dealsync.checks.context import Context
from dealsync.checks.kommo import account_of
from dealsync.checks.verdicts import Check, Skip, failed, ok
from dealsync.core.checkup import Verdict
from dealsync.ledger.runs import KOMMO_ACCOUNT

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


async def reachable(context: Context) -> Verdict:
    """Read its revision."""
    return ok(f"it does ({context.engine.dialect.name})" if context.standing else "it does")


async def migrated(context: Context) -> Verdict:
    """Compare its revision with the one that this program needs."""
    standing = context.standing
    if context.is_migrated:
        return ok(f"revision {standing.present}")
    return failed(f"it is at revision {standing.present or 'none'}, this dealsync needs {standing.needed}")


async def owner(context: Context) -> Verdict:
    """Compare whose data it holds with the account of the settings."""
    held = context.store.runs.bound(KOMMO_ACCOUNT)
    if held is None:
        return ok("it holds nobody's data yet")
    ours = await _account_id(context)
    return (
        ok(f"Kommo account {held}") if held == ours else failed(f"it holds account {held}'s, the settings name {ours}")
    )


async def turns(context: Context) -> Verdict:
    """Open the file of turns."""
    with context.machine.connect():
        return ok(f"in {context.environment.dealsync_state_dir}")


async def _account_id(context: Context) -> str:
    """As the account tells, or as any run read it from this address."""
    if context.offline:
        view = context.store.accounts.read_since(context.environment.kommo_origin, BEGINNING)
        if view is None:
            raise Skip("no run has read this account yet")
        return str(view["account"]["account_id"])
    if not context.went_well("DS201"):
        raise Skip("needs DS201")
    return str((await account_of(context)).account_id)


CHECKS: dict[str, Check] = {"DS301": reachable, "DS302": migrated, "DS303": owner, "DS304": turns}
