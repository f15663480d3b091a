"""JSON on standard output, for programs: what every command prints with `--json`."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any

AT_ONCE = 10_000
"""Pieces (a name, a value, a comma) that are written together."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as it is put together: a long report as one text would take more memory than what it tells of.

    Where standard output cannot hold every character, those that are not ASCII are escaped: it is the same to programs.
    """
    is_narrow = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"
    pieces = json.JSONEncoder(indent=2, ensure_ascii=is_narrow).iterencode(value)
    while text := "".join(islice(pieces, AT_ONCE)):
        sys.stdout.write(text)
    sys.stdout.write("\n")
    sys.stdout.flush()
