"""What programs read on standard output, and what a long run gives back."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dealsync import printed
from dealsync.printed import print_json
from dealsync.terminal import with_progress
from tests.cli.test_commands import clean_environment

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), JSON), st.integers(1, 5))
def test_print_json__is_one_document_however_it_was_put_together(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: dict[str, Any], at_once: int
) -> None:
    monkeypatch.setattr(printed, "AT_ONCE", at_once)
    print_json(value)
    out = capsys.readouterr().out
    assert out == json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert json.loads(out) == value


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_print_json__is_the_same_to_programs_whatever_standard_output_can_hold(encoding: str) -> None:
    value = {"reason": "Zoë paid € 5 … Ω 支払い"}
    code = f"from dealsync.printed import print_json\nprint_json({value!r})"
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        env=clean_environment({"PYTHONIOENCODING": encoding}),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.decode(encoding)) == value


class Long:
    """A result that nobody may write out: that of a long run takes seconds."""

    def __repr__(self) -> str:
        raise AssertionError("written out")


def test_with_progress__gives_back_what_was_done_and_writes_it_out_for_nobody() -> None:
    told: list[Callable[[str], None]] = []

    async def work(progress: Callable[[str], None]) -> Long:
        told.append(progress)
        progress("at work")
        return Long()

    assert isinstance(with_progress(work), Long)
    assert len(told) == 1


def test_with_progress__raises_what_the_work_raises() -> None:
    async def work(_progress: Callable[[str], None]) -> float:
        return math.sqrt(-1)

    with pytest.raises(ValueError, match="math domain"):
        with_progress(work)
