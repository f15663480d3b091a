"""Every code that people may meet, as they read it: `python -m dealsync.catalogue` prints `docs/errors.md`.

It is made of the classes in `dealsync.errors` and of the checks in `dealsync.core.checkup`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

from dealsync.core.checkup import CATALOGUE, CheckKind, end_of
from dealsync.errors import DealsyncError

HEAD = """\
# Codes

A line of `dealsync` that ends in `(DS0..)` names an error below; `dealsync doctor` begins its lines with `DS1..` to
`DS5..`. This page is made from the program itself (`python -m dealsync.catalogue > docs/errors.md`).
"""


def error_classes(root: type[DealsyncError] = DealsyncError) -> Iterator[type[DealsyncError]]:
    """Yield every class of the tree but the root, which is never raised."""
    for sub in root.__subclasses__():
        yield sub
        yield from error_classes(sub)


def meaning_of(error: type[DealsyncError]) -> str:
    """Return what an error means: the first paragraph of its docstring."""
    return " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())


def page() -> str:
    """Return the whole page as Markdown."""
    parts = [HEAD, "## Errors\n"]
    parts += [_error(error) for error in sorted(error_classes(), key=lambda error: error.code)]
    end = ""
    for kind in CATALOGUE:
        if end != (end := end_of(kind.code)):
            parts.append(f"## dealsync doctor: {end}\n")
        parts.append(_check(kind))
    return "\n".join(parts)


def _error(error: type[DealsyncError]) -> str:
    seen = f"{error.seen}, " if error.seen else ""
    ends = f"a line that ends in `({error.code})`, exit {error.exit_code}"
    name = re.sub(r"(?<!^)([A-Z])", r" \1", error.__name__).lower()
    return _entry(error.code, name, f"{seen}{ends}", meaning_of(error), error.way_out)


def _check(kind: CheckKind) -> str:
    needs = f" It is skipped unless {', '.join(kind.needs)} went well." if kind.needs else ""
    seen = f"`{kind.code} failed` (or `warning`): {kind.name}"
    return _entry(kind.code, kind.name, seen, f"{kind.meaning}{needs}", kind.way_out)


def _entry(code: str, title: str, seen: str, meaning: str, way_out: str) -> str:
    rows = (f"- **You see** {seen}", f"- **It means** {meaning}", f"- **Do** {way_out}")
    return "\n".join((f"### {code}: {title}", "", *rows, ""))


if __name__ == "__main__":
    sys.stdout.write(page())
