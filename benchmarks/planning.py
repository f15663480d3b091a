"""How long one plan takes and how much memory it needs, by the number of orders: `python -m benchmarks.planning`.

`--plot FILE` measures ten sizes and draws them beside a line of equal cost an order. The tables are those of
`planning_tables`; the peer, datacompy, compares the same wanted fields with the same stored ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from benchmarks.figures import Figure, report
from benchmarks.peer import compare
from benchmarks.planning_tables import NOW, POLICY, build
from benchmarks.processes import peak_mb, run
from dealsync.charts import BAD, COLOURS, GOOD, QUIET, STYLE
from dealsync.core.diff import fields_differ, stand
from dealsync.core.match import match
from dealsync.core.planner import make_plan
from dealsync.core.sales import SALE_KEYS, counted, wanted_fields

GOALS = {10_000: (None, None), 100_000: (2.0, 600.0), 1_000_000: (25.0, 4096.0)}
"""Seconds and MB at most, by the number of orders."""
COMPARED = 100_000
"""Orders whose fields are compared by the peer, too."""
TIMES = 3
PLOTTED = np.unique(np.logspace(4, 6, 10).round(-3).astype(int))


def figures(quick: bool) -> Iterator[Figure]:
    """Yield seconds, seconds of the processor and memory of one plan by size, and the diff beside its peer's."""
    for size, (most_s, most_mb) in GOALS.items():
        if quick and size > COMPARED:
            continue
        told = _in_own_process("plan", size)
        what, note = f"diff + plan, {size:,} orders", f"{told['actions']:,} actions"
        yield Figure(f"{what}: time", told["wall_s"], "s", goal=most_s, note=note)
        yield Figure(f"{what}: processor", told["cpu_s"], "s")
        yield Figure(f"{what}: memory", told["peak_mb"], "MB", goal=most_mb)
    yield from _diff_beside_peer()


def _diff_beside_peer() -> Iterator[Figure]:
    """Both read the same two files, in a process of their own; only the comparison is timed."""
    with TemporaryDirectory(prefix="benchmark-") as name:
        wanted, stored = Path(name, "wanted.csv"), Path(name, "stored.csv")
        _in_own_process("tables", COMPARED, str(wanted), str(stored))
        ours = _in_own_process("diff", COMPARED, str(wanted), str(stored))
        peer = compare("compare_tables.py", str(wanted), str(stored), "sale")
    if peer is not None and peer[0]["rows"] != ours["rows"]:
        raise RuntimeError(f"{ours['rows']} rows differ, the peer says {peer[0]['rows']}")
    theirs_s, theirs_mb = (peer[0]["seconds"], peer[1].peak_mb) if peer is not None else (None, None)
    what, name = f"diff alone, {COMPARED:,} rows of {len(SALE_KEYS)} fields", "datacompy" if peer else ""
    yield Figure(f"{what}: time", ours["seconds"], "s", peer=name, peer_value=theirs_s, note=f"{ours['rows']:,} differ")
    yield Figure(f"{what}: memory", ours["peak_mb"], "MB", peer=name, peer_value=theirs_mb)


def plan(size: int) -> dict[str, float]:
    """Plan, three times where that is quick; return what the quickest took."""
    tables, took = build(size), []
    for _ in range(TIMES if size <= COMPARED else 1):
        began, worked = time.perf_counter(), time.process_time()
        made = make_plan(tables, POLICY, NOW)
        took.append((time.perf_counter() - began, time.process_time() - worked))
    wall_s, cpu_s = min(took)
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb(), "actions": len(made.actions)}


def write_tables(size: int, wanted: str, stored: str) -> dict[str, float]:
    """Write the wanted and the stored fields of each sale as CSV, for both sides of the comparison."""
    tables = counted(build(size))
    sales = stand(tables, match(tables, POLICY, NOW), POLICY).sales
    held = sales[[f"deal_ls_{key}" for key in SALE_KEYS]].fillna("").set_axis(list(SALE_KEYS), axis=1)
    for path, fields in ((wanted, wanted_fields(sales)[list(SALE_KEYS)]), (stored, held)):
        fields.assign(sale=sales["lead_id"]).to_csv(path, index=False)
    return {}


def diff(_size: int, wanted: str, stored: str) -> dict[str, float]:
    """Compare what `write_tables` wrote, as the planner does."""
    tables = [pd.read_csv(path, dtype="str", keep_default_na=False) for path in (wanted, stored)]
    began = time.perf_counter()
    joined = tables[0].merge(tables[1].add_prefix("deal_ls_"), left_on="sale", right_on="deal_ls_sale")
    rows = joined[fields_differ(joined, ((key, joined[key]) for key in SALE_KEYS))]
    return {"seconds": time.perf_counter() - began, "rows": len(rows), "peak_mb": peak_mb()}


def plot(path: Path, sizes: Sequence[int]) -> None:
    """Measure plans of these sizes and draw time and memory over them, on logarithmic axes."""
    measured = [_in_own_process("plan", size) for size in sizes]
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=(7.2, 3.2), layout="constrained")
        panels = drawing.subplots(1, 2)
        series = (
            ("seconds of the processor, one plan", "cpu_s", GOOD),
            ("memory of the process, MB", "peak_mb", COLOURS[1]),
        )
        for axes, (title, key, colour) in zip(panels, series, strict=True):
            values = [told[key] for told in measured]
            middle = len(sizes) // 2
            linear = [values[middle] * size / sizes[middle] for size in sizes]
            axes.plot(sizes, linear, color=QUIET, linewidth=1, linestyle="--", label="equal cost an order")
            axes.plot(sizes, values, color=colour, marker="o", markersize=4, label="measured")
            goals = [(size, goal[key == "peak_mb"]) for size, goal in GOALS.items() if goal[0]]
            axes.plot(*zip(*goals, strict=True), color=BAD, marker="_", linestyle="", markersize=14, label="goal")
            axes.set(xscale="log", yscale="log", xlabel="orders, and as many deals", title=title)
            axes.grid(visible=True, which="major")
            axes.legend(frameon=False)
        drawing.savefig(path, dpi=160, metadata={"Software": None})


def _in_own_process(part: str, size: int, *more: str) -> dict[str, float]:
    """Run a part in a process of its own, so that its peak memory is its own."""
    ran = run(sys.executable, "-m", "benchmarks.planning", "--part", part, "--size", str(size), *more)
    told: dict[str, float] = json.loads(ran.output)
    return told


PARTS: dict[str, Callable[..., dict[str, float]]] = {"plan": plan, "tables": write_tables, "diff": diff}


def main() -> None:
    """Print the table, draw it, or run one part."""
    parser = argparse.ArgumentParser(prog="benchmarks.planning", description="Measure the planner.")
    parser.add_argument("--quick", action="store_true", help="without a million orders")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw time and memory over the number of orders")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.part:
        print(json.dumps(PARTS[wanted.part](wanted.size, *wanted.files)))
    elif wanted.plot:
        plot(wanted.plot, [int(size) for size in PLOTTED])
    else:
        report(figures(wanted.quick))


if __name__ == "__main__":
    main()
