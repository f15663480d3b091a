"""`dealsync.toml` as a document: every key, comment and order that is there stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from dealsync.account import means
from dealsync.config import Config, parse_config
from dealsync.core.mapping import FIELDS
from dealsync.errors import ConfigError
from dealsync.setup.files import ensure_writable, write_at_once

SECTIONS = {
    "kommo": "Names or ids. Deals in this pipeline are matched by their contact's e-mail.",
    "owners": "Who gets deals that clients paid for by themselves, in turn.",
    "receiver": "Where both accounts and buyers reach the receiver.",
    "policy": "Notes and tasks tell of nothing that happened before this moment.",
    "fields": "The LS fields of deals, by id: they may be renamed in Kommo.",
}
KEYS = {
    ("kommo", "pipeline"): "the funnel that is watched",
    ("kommo", "invoice_status"): "deals here wait for their payment and get a checkout link",
    ("kommo", "attention_status"): "refunded deals come here, for a person to look at",
    ("owners", "strategy"): "round_robin, zone or fixed",
    ("owners", "users"): "ids of Kommo users",
    ("receiver", "url"): "the part before /webhooks",
    ("policy", "notify_since"): "UTC",
    **{("fields", field.key): field.name for field in FIELDS},
}


class ConfigFile:
    """What stands in the file, and what is to be added."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one. Raises ConfigError."""
        self.path = path
        try:
            # As bytes: reading as text would turn line ends of Windows into ours.
            self._found = path.read_bytes().decode("utf-8") if path.exists() else None
            self._document = tomlkit.parse(self._found or "")
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error

    def value(self, section: str, key: str) -> Any:
        """Return what a key holds; None if it is not there."""
        return self._section(section).get(key)

    def name(self, section: str, found: Mapping[str, tuple[int, str]]) -> None:
        """Write names that were found, unless what stands there means the same."""
        table = self._table(section)
        for key, (item_id, item_name) in found.items():
            if key not in table or not means(table[key], item_id, item_name):
                self._put(section, key, item_name)

    def fill(self, section: str, values: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Add keys to a section; a key that is there keeps its value, unless it is to be overwritten and differs."""
        table = self._table(section)
        for key, value in values.items():
            if key not in table or (overwrite and table[key] != value):
                self._put(section, key, value)

    def parsed(self) -> Config:
        """Return the configuration as it would be read. Raises ConfigError naming the keys."""
        return parse_config(tomlkit.parse(tomlkit.dumps(self._document)).unwrap(), self.path)

    def ensure_writable(self) -> None:
        """Raise ConfigError if the file cannot be written."""
        ensure_writable(self.path)

    def write(self) -> bool:
        """Write the file if it changed; return whether it did."""
        text = tomlkit.dumps(self._document)
        if text == self._found:
            return False
        write_at_once(self.path, text.encode("utf-8"))
        self._found = text
        return True

    def _section(self, name: str) -> Any:
        section = self._document.get(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{self.path} is wrong: {name} must be a section, [{name}]")
        return section

    def _table(self, name: str) -> Any:
        if name not in self._document:
            table = tomlkit.table()
            if name in SECTIONS:
                table.comment(SECTIONS[name])
            self._document[name] = table
        return self._section(name)

    def _put(self, section: str, key: str, value: Any) -> None:
        table = self._table(section)
        is_new = key not in table
        table[key] = value
        comment = KEYS.get((section, key))
        if is_new and comment:
            table[key].comment(comment)
