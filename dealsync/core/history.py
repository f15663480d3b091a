"""What an object is and was, version by version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """What was so from a time on; None: for as long as anybody knows."""

    since: datetime | None
    values: Values


@dataclass(frozen=True, slots=True)
class History:
    """The versions of one object, the oldest first. There is always one."""

    versions: tuple[Version, ...]

    @property
    def first(self) -> Values:
        """What it was when it was first seen."""
        return self.versions[0].values

    def before(self, at: datetime) -> Values:
        """What it was right before a time. What is not known to have been otherwise was as it was first seen."""
        held = [v.values for v in self.versions if v.since is None or v.since < at]
        return held[-1]


def history(now: Values, formers: Iterable[tuple[datetime, Values]] = ()) -> History:
    """Return the history of what is so now and what was until some time, oldest first."""
    versions, since = [], None
    for until, values in formers:
        versions.append(Version(since, {**now, **values}))
        since = until
    return History((*versions, Version(since, now)))
