"""A report in Markdown, for the Prefect UI: with links into Kommo and Lemon Squeezy, without personal data."""

from __future__ import annotations

from dealsync.core.states import State
from dealsync.report import DRIFT_WORDS, MARKDOWN_ROWS, Report, cell, order_link


def as_markdown(report: Report) -> str:
    """Return the report for the Prefect UI, with links into Kommo and Lemon Squeezy."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    lines = [
        f"# {report.headline()}",
        f"Run `{report.run_id}`, {seconds:.0f} s, {sum(report.requests.values())} requests.",
    ]
    lines += ["", "## Out of step when the run began", "", "| drift | count | oldest since |", "|---|---|---|"]
    oldest = {d.drift: f"{d.since:%Y-%m-%d %H:%M}" for d in reversed(report.plan.drifts)}
    lines += [f"| {DRIFT_WORDS[name]} | {n} | {oldest.get(name, '')} |" for name, n in report.plan.drift.items()]
    lines += deals_done(report, MARKDOWN_ROWS)
    if report.troubled:
        lines += ["", "## Not done", "", "| action | state | why |", "|---|---|---|"]
        lines += [f"| `{a.key}` | {report.state_of(a)} | {cell(report.error_of(a))} |" for a in report.troubled]
    if report.plan.reviews:
        lines += _reviews(report)
    lines += _drifts(report) + _refusals(report)
    if report.plan.oddities:
        lines += ["", "## Not believed", "", "| about | what |", "|---|---|"]
        lines += [f"| `{oddity.source}` | {cell(oddity.reason)} |" for oddity in report.plan.oddities]
    remarks = report.remarks()
    if remarks:
        lines += ["", "## Remarks", "", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def _drifts(report: Report) -> list[str]:
    """Every single thing that is out of step, with its age."""
    if not report.plan.drifts:
        return []
    lines = [
        "",
        "## Out of step, one by one",
        "",
        "| what | about | deal | since | seen first |",
        "|---|---|---|---|---|",
    ]
    for d in report.plan.drifts[:MARKDOWN_ROWS]:
        deal = "none" if d.lead_id is None else report.deal_link(d.lead_id)
        when = f"{d.since:%Y-%m-%d %H:%M} | {report.first_seen_of(d):%Y-%m-%d %H:%M}"
        lines.append(f"| {DRIFT_WORDS[d.drift]} | `{d.source}` | {deal} | {when} |")
    return lines


def _refusals(report: Report) -> list[str]:
    """What a conflict rule left alone; what earlier runs told of already is only counted."""
    fresh = [r for r in report.plan.refusals if report.first_seen_of(r) >= report.started_at]
    if not report.plan.refusals:
        return []
    known = len(report.plan.refusals) - len(fresh)
    lines = ["", "## Left alone", ""]
    lines += [f"{known} more are as in earlier runs: `dealsync plan --json` lists them.", ""] if known else []
    if fresh:
        lines += ["| about | deal | rule | why |", "|---|---|---|---|"]
    return lines + [
        f"| `{r.source}` | {report.deal_link(r.lead_id)} | {r.rule} | {cell(r.reason)} |" for r in fresh[:MARKDOWN_ROWS]
    ]


def _reviews(report: Report) -> list[str]:
    """What a person must place, each with the deals that it may be for, best first."""
    lines = [
        "",
        "## Waiting for a person",
        "",
        "Place each with `dealsync reviews`, the deployment `resolve-review`, or by writing the order id into the "
        "field *LS order id* of the right deal.",
        "",
        "| order | why | possible deals, likeliest first |",
        "|---|---|---|",
    ]
    for review in report.plan.reviews[:MARKDOWN_ROWS]:
        deals = "<br>".join(
            f"{report.deal_link(c.lead_id)} ({c.score}): {cell('; '.join(c.reasons))}" for c in review.details
        )
        lines.append(f"| {order_link(review.order_id)} | {cell(review.reason)} | {deals or 'none'} |")
    return lines


def deals_done(report: Report, most: int) -> list[str]:
    """Return lines about what is to be done, or was done, deal by deal."""
    deals: dict[tuple[str, int | None], list[str]] = {}
    for action in report.plan.actions:
        if not report.applied or report.state_of(action) == State.APPLIED:
            deals.setdefault((action.order_id or action.source, report.lead_id_of(action)), []).append(
                action.kind.value
            )
    if not deals:
        return []
    rows = [
        f"| {report.deal_link(lead_id)} | {order_link(order_id)} | {', '.join(dict.fromkeys(kinds))} |"
        for (order_id, lead_id), kinds in list(deals.items())[:most]
    ]
    title = "Done" if report.applied else "To do"
    more = ["", f"... and {len(deals) - most} more deals"] if len(deals) > most else []
    return ["", f"## {title}", "", "| deal | order | what |", "|---|---|---|", *rows, *more]
