"""Every setting as people read it: `python -m dealsync.settings_page` prints `docs/settings.md`.

What a setting means stands in `settings_page.toml`, beside the code; defaults come from the code itself.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dealsync.config import Config
from dealsync.settings import Environment

Row = Mapping[str, Any]
NONE = "-"


def page() -> str:
    """Return the page as Markdown."""
    words = tomllib.loads((files(__package__) / "settings_page.toml").read_text(encoding="utf-8"))
    return "\n".join(
        [
            "# Settings",
            "",
            "*Made from the code: `python -m dealsync.settings_page`.*",
            "",
            "## Environment, or `.env`",
            "",
            *_table(words["environment"], environment_defaults()),
            "",
            "## `dealsync.toml`",
            "",
            words["config_intro"].strip(),
            "",
            *_table(words["config"], config_defaults()),
            "",
            words["config_outro"].strip(),
            "",
        ]
    )


def environment_defaults() -> dict[str, str]:
    """Return what each variable is when it is not set, by name."""
    return {name.upper(): _shown(info, quote=False) for name, info in Environment.model_fields.items()}


def config_defaults() -> dict[str, str]:
    """Return what each key is when it is not given, by its path: `owners.strategy`."""
    return dict(_of_sections())


def _of_sections() -> Iterator[tuple[str, str]]:
    for section, info in Config.model_fields.items():
        keys: Mapping[str, FieldInfo] = getattr(info.annotation, "model_fields", {})
        for key, field in keys.items():
            yield f"{section}.{key}", _shown(field, quote=True)


def _table(rows: list[Row], defaults: Mapping[str, str]) -> list[str]:
    lines = ["| name | default | |", "|---|---|---|"]
    for row in rows:
        names = ", ".join(f"`{name}`" if "`" not in name else name for name in row["names"])
        default = row.get("default") or ", ".join(dict.fromkeys(defaults.get(name, NONE) for name in row["names"]))
        lines.append(f"| {names} | {default} | {row['text']} |")
    return lines


def _shown(info: FieldInfo, *, quote: bool) -> str:
    value = info.get_default(call_default_factory=False)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if info.is_required() or value in (None, "", [], {}) or info.default_factory is not None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return f"`{json.dumps(str(value), ensure_ascii=False) if quote else value}`"
    return str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
