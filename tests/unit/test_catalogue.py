"""Codes: each of its own, each explained, and no error without one where a user would see it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import dealsync.errors
from dealsync.catalogue import error_classes, meaning_of, page
from dealsync.checks.examine import CHECKS
from dealsync.core.alerts import WELL_AGAIN
from dealsync.core.checkup import CATALOGUE, CONDITIONS, end_of
from dealsync.errors import DealsyncError

ROOT = Path(__file__).parents[2]
ERRORS = list(error_classes())
SOURCES = [
    path
    for folder in ("dealsync", "flows", "tasks", "deployments")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "simulator" not in path.parts
]


def test_page__is_the_committed_one() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == page()


def test_codes__are_never_used_twice() -> None:
    codes = Counter([*(error.code for error in ERRORS), *(kind.code for kind in CATALOGUE), DealsyncError.code])
    assert {code for code, times in codes.items() if times > 1} == set()
    assert all(re.fullmatch(r"DS\d{3}", code) for code in codes)
    assert {error.code[:3] for error in ERRORS} == {"DS0"}


def test_errors__each_has_its_own_code_meaning_and_way_out_on_the_page() -> None:
    assert len(ERRORS) > 20
    for error in ERRORS:
        assert {"code", "way_out"} <= set(vars(error)), f"{error.__name__} inherits its code or way_out"
        assert meaning_of(error).endswith("."), error.__name__
        assert error.way_out.endswith("."), error.__name__
        assert f"### {error.code}: " in page()


def test_errors__end_in_their_code_where_people_read_them() -> None:
    error = dealsync.errors.UnknownEntry("The ledger has no action x")
    assert error.line == "The ledger has no action x (DS010)"


def test_checks__are_those_of_the_catalogue_each_with_a_name_of_its_own() -> None:
    assert set(CHECKS) == {kind.code for kind in CATALOGUE}
    assert max(Counter(kind.name for kind in CATALOGUE).values()) == 1
    assert [end_of(kind.code) for kind in CATALOGUE] == sorted(
        (end_of(kind.code) for kind in CATALOGUE), key=[*dict.fromkeys(end_of(k.code) for k in CATALOGUE)].index
    )
    for kind in CATALOGUE:
        assert kind.meaning.endswith("."), kind.code
        assert kind.way_out, kind.code


def test_checks__need_only_what_is_run_with_them() -> None:
    offline = {kind.code: kind.offline for kind in CATALOGUE}
    for kind in CATALOGUE:
        assert all(offline[need] for need in kind.needs) or not kind.offline, kind.code


def test_checks__tell_of_every_condition_of_alerts() -> None:
    assert set(CONDITIONS) == set(WELL_AGAIN)
    assert {code for codes in CONDITIONS.values() for code in codes} <= set(CHECKS)


def test_sources__raise_no_exception_of_their_own_that_is_not_of_the_tree_or_caught_here() -> None:
    """An exception outside of the tree has no code: it must be caught before it reaches a user."""
    tree = {error.__name__ for error in ERRORS} | {DealsyncError.__name__}
    own: dict[str, set[str]] = {}  # class -> its bases
    raised, caught = set[str](), set[str]()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own[node.name] = {_name(base) for base in node.bases}
            elif isinstance(node, ast.Raise) and node.exc is not None:
                raised.add(_name(node.exc.func if isinstance(node.exc, ast.Call) else node.exc))
            elif isinstance(node, ast.ExceptHandler) and node.type is not None:
                caught |= set(_names(node.type))
            elif isinstance(node, ast.Call) and _name(node.func) in ("suppress", "retry_if_exception_type"):
                caught |= {name for argument in node.args for name in _names(argument)}
    strangers = (raised & own.keys()) - tree
    assert raised & tree, "nothing was found"
    assert {"_TryAgain", "NotStored", "BadBody", "Skip"} <= strangers
    assert strangers - caught == set()
    assert DealsyncError.__name__ not in raised


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.expr) -> list[str]:
    return [_name(found) for found in ast.walk(node) if isinstance(found, ast.Name | ast.Attribute)]
