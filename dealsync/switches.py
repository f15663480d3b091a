"""What a manager may change between two runs without a deploy: variables, as the Prefect UI keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dealsync.config import words_of
from dealsync.errors import ConfigError
from dealsync.settings import Settings


class Switches(BaseModel):
    """The variables that are looked at. One that is not set, or empty, changes nothing."""

    model_config = ConfigDict(hide_input_in_errors=True)

    dealsync_paused: bool = False
    dealsync_max_changes: Annotated[int | None, Field(ge=0)] = None


def switched(settings: Settings, variables: Mapping[str, Any]) -> Settings:
    """Return the settings as these variables want them. Raises ConfigError naming the variable that is wrong."""
    try:
        switches = Switches(**{name: value for name, value in variables.items() if value not in (None, "")})
    except ValidationError as error:
        wrong = "; ".join(sorted(f"{e['loc'][0]} ({words_of(e)})" for e in error.errors()))
        raise ConfigError(f"Prefect variable wrong: {wrong}. Mend or delete it in the UI, under Variables") from error
    config = settings.config
    if switches.dealsync_max_changes is not None:
        limits = config.limits.model_copy(update={"max_changes": switches.dealsync_max_changes})
        config = config.model_copy(update={"limits": limits})
    return replace(settings, config=config, paused=switches.dealsync_paused)
