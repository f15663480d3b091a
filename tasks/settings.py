"""How each run begins: with its settings, and a name. The block of accounts goes before the environment.

The block is read anew by each run, so that a new key counts from the next run on. One that cannot be read fails the
run: other credentials than those that were meant are never used in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound, PrefectException
from pydantic import ValidationError

from dealsync.errors import ConfigError
from dealsync.settings import Overrides, Settings, block_name, load_settings
from dealsync.switches import Switches, switched
from tasks.accounts import DealsyncAccounts
from tasks.naming import name_at_start

PATIENCE_S = 20.0
"""How long the Prefect server may take to answer; the client waits out short outages by itself."""


async def begin() -> Settings:
    """Return what is configured, once the run of now is called by what it is and tagged. Raises ConfigError."""
    settings = await read_settings()
    await name_at_start(settings.tags)
    return settings


async def read_settings() -> Settings:
    """Return what is configured. Raises ConfigError."""
    overrides, variables = await _asked()
    return switched(load_settings(overrides), variables)


async def _asked() -> tuple[Overrides, Mapping[str, Any]]:
    """Ask the server for the block and the variables, at the same time."""
    slug = DealsyncAccounts.get_block_type_slug()
    source = f"the block {slug}/{block_name()}"
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as client:
            filled, variables = await asyncio.gather(_filled(client, slug), _variables(client))
    except (TimeoutError, httpx.HTTPError, PrefectException, ValidationError) as error:
        # Not the error's own words: those of a ValidationError could show what was typed.
        raise ConfigError(
            f"Prefect did not give {source} or the variables of dealsync ({type(error).__name__}), so it is not known "
            "which accounts are meant. Nothing was sent; see that the server is well, and that the block is filled in "
            "as its form asks"
        ) from None
    return Overrides(source if filled else "", filled), variables


async def _filled(client: PrefectClient, slug: str) -> Mapping[str, str]:
    try:
        document = await client.read_block_document_by_name(block_name(), slug)
    except ObjectNotFound:
        return {}
    return DealsyncAccounts.model_validate(document.data).filled()


async def _variables(client: PrefectClient) -> Mapping[str, Any]:
    wanted = {"variables": {"name": {"any_": sorted(Switches.model_fields)}}}
    answer = await client.request("POST", "/variables/filter", json=wanted)
    return {row["name"]: row["value"] for row in answer.raise_for_status().json()}
