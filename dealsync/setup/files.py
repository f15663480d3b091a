"""The files that `init` writes: each at once or not at all, and nothing that stands there is lost."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from dealsync.errors import ConfigError

PRIVATE = 0o600
PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,=~-]*")
"""Values that `.env` holds without quotes."""


class EnvFile:
    """`.env`: lines are added to it, or changed where a person said so; all others stay as they are."""

    def __init__(self, path: Path = Path(".env")) -> None:
        """Read the file, if there is one. Raises ConfigError."""
        self.path = path
        self.changed: dict[str, str] = {}
        self._found = _read(path)

    def holds(self, name: str) -> bool:
        """Whether a line of the file sets this."""
        return any(_sets(line, name) for line in self._lines())

    @property
    def is_open_to_others(self) -> bool:
        """Whether the file is there, may be read by other users, and stays so: what is written is private."""
        return not self.changed and self.path.exists() and bool(self.path.stat().st_mode & 0o077)

    def set(self, name: str, value: str) -> None:
        """Add a line, or change the one that is there. Nothing is written yet."""
        self.changed[name] = value

    def ensure_writable(self) -> None:
        """Raise ConfigError if the file would have to be written and cannot."""
        if self.changed:
            ensure_writable(self.path)

    def write(self) -> bool:
        """Write what is new, for the owner's eyes only; return whether anything is."""
        content = self._content()
        if content == self._found:
            return False
        write_at_once(self.path, content, mode=PRIVATE)
        self._found = content
        return True

    def _lines(self) -> list[str]:
        return self._found.decode("utf-8").splitlines(keepends=True)

    def _content(self) -> bytes:
        lines, end = self._lines(), "\r\n" if b"\r\n" in self._found else "\n"
        for name, value in self.changed.items():
            line = f"{name}={_quoted(value)}"
            places = [number for number, old in enumerate(lines) if _sets(old, name)]
            if places:
                # The last one is the one that counts.
                old = lines[places[-1]]
                lines[places[-1]] = line + old[len(old.rstrip("\r\n")) :]
                continue
            if lines and not lines[-1].endswith(("\n", "\r")):
                lines[-1] += end
            lines.append(line + end)
        return "".join(lines).encode("utf-8")


def ensure_writable(path: Path) -> None:
    """Raise ConfigError if a file cannot be replaced: that takes the right to write its folder, too."""
    place = path.resolve()
    if not os.access(place.parent, os.W_OK) or (place.exists() and not os.access(place, os.W_OK)):
        raise ConfigError(f"{path} cannot be written: no permission, or no such folder")


def write_at_once(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace a file as a whole: whoever reads it, and whatever stops us, there is the old one or the new one.

    Without a `mode` it keeps its own. Raises ConfigError.
    """
    place = path.resolve()  # a link stays one
    try:
        if mode is None:
            mode = place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)  # readable for its owner only
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(mode)
            draft.replace(place)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content.decode("utf-8")
    except FileNotFoundError:
        return b""
    except UnicodeDecodeError as error:
        raise ConfigError(f"The file {path} is not UTF-8 text; save it as such") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return content


def _sets(line: str, name: str) -> bool:
    return re.match(rf"\s*(?:export\s+)?{re.escape(name)}\s*=", line, re.IGNORECASE) is not None


def _quoted(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _umask() -> int:
    """The mask of this process; reading it means setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
