"""Runs the checks in the order of the catalogue; one that needs another is skipped unless that went well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
from sqlalchemy.exc import SQLAlchemyError

from dealsync.checks import database, kommo, kommo_setup, lemon_squeezy, ourselves, prefect
from dealsync.checks.context import Context
from dealsync.checks.verdicts import Check, Skip, failed, skipped
from dealsync.core.checkup import CATALOGUE, Checked, CheckKind, Verdict
from dealsync.errors import DealsyncError

CHECKS: Mapping[str, Check] = {
    **lemon_squeezy.CHECKS,
    **kommo.CHECKS,
    **kommo_setup.CHECKS,
    **database.CHECKS,
    **prefect.CHECKS,
    **ourselves.CHECKS,
}
KINDS: Mapping[str, CheckKind] = {kind.code: kind for kind in CATALOGUE}


async def examine(context: Context) -> AsyncIterator[Checked]:
    """Yield every check with its verdict, in the order of the catalogue; without network those that need none."""
    try:
        for kind in CATALOGUE:
            if kind.offline or not context.offline:
                yield Checked(kind, await _verdict(context, kind))
    finally:
        await context.close()


async def _verdict(context: Context, kind: CheckKind) -> Verdict:
    if kind.code not in context.verdicts:
        context.verdicts[kind.code] = await _look(context, kind)
    return context.verdicts[kind.code]


async def _look(context: Context, kind: CheckKind) -> Verdict:
    for need in kind.needs:
        await _verdict(context, KINDS[need])
        if not context.went_well(need):
            return skipped(f"needs {need}")
    try:
        return await CHECKS[kind.code](context)
    except Skip as reason:
        return skipped(str(reason))
    except DealsyncError as error:
        return failed(str(error))
    except SQLAlchemyError as error:
        return failed(f"the database failed ({type(error).__name__})")
    except httpx.HTTPStatusError as error:
        return failed(f"HTTP {error.response.status_code}")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        # Whoever answers at an address that a person typed may answer anything.
        return failed(f"no usable answer ({type(error).__name__})")
