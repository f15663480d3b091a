"""What `init` makes in Kommo: stages that are missing, and the LS fields."""

from __future__ import annotations

from collections.abc import Sequence

from dealsync.account import find_field
from dealsync.apis.kommo import render
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import CustomField, Pipeline
from dealsync.config import Config
from dealsync.core.mapping import FIELDS
from dealsync.errors import Rejected, Unauthorized
from dealsync.setup.choices import Stage, body_of

GROUP = "Lemon Squeezy"
"""The group of deals' fields that the LS fields are made in."""


def field_ids_of(present: Sequence[CustomField], config: Config) -> dict[str, int | None]:
    """Return the ids of the LS fields that are configured and there, or there by name; None for those to be made."""
    return {f.key: find_field(present, config.fields.get(f.key)) or find_field(present, f.name) for f in FIELDS}


async def make_fields(kommo: Kommo, ids: dict[str, int | None]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Make the LS fields without an id; return their names, and the ids of all."""
    made: list[CustomField] = []
    if None in ids.values():
        bodies = zip(FIELDS, render.ls_fields(await kommo.deal_field_group(GROUP)), strict=True)
        made = await kommo.create_deal_custom_fields([body for field, body in bodies if ids[field.key] is None])
    ids = ids | {field.key: find_field(made, field.name) for field in FIELDS if ids[field.key] is None}
    return tuple(field.name for field in made), {key: field_id for key, field_id in ids.items() if field_id}


async def make_stages(kommo: Kommo, pipeline: Pipeline, stages: Sequence[Stage]) -> tuple[str, ...]:
    """Make the stages that are to be made, and return their names."""
    new = list(dict.fromkeys(stage for stage in stages if stage.is_new))
    if not new:
        return ()
    bodies = [body_of(stage, pipeline, number) for number, stage in enumerate(new, 1)]
    made = await kommo.create_statuses(pipeline.pipeline_id, bodies)
    return tuple(status.name for status in made)


def refusal(what: str, error: Unauthorized | Rejected) -> str:
    """Return why something could not be made, and what to do."""
    return (
        f"Kommo did not let {what} be made ({error}): run init with a token that an admin made, or make them in Kommo"
    )
