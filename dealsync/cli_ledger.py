"""`dealsync ledger`: what dealsync meant and did, and what a person says about what it could not do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dealsync.completing import objects
from dealsync.core.states import State
from dealsync.errors import ConfigError, UnknownEntry
from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.ledger.approvals import Approval
    from dealsync.ledger.entries import ChosenEntries, Entries, EntryItem

app = typer.Typer(name="ledger", help="List what dealsync did, give up what it cannot do, or let it try again.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
States = Annotated[
    list[State] | None,
    typer.Option("--state", metavar="STATE", help=f"Only those that are {' or '.join(State)}; can be repeated."),
]
About = Annotated[
    str,
    typer.Option(
        "--about", metavar="OBJECT", help="Only about this object: order:17 or lead:31.", autocompletion=objects
    ),
]
Run = Annotated[str, typer.Option("--run", metavar="ID", help="Only those of this run.")]
Keys = Annotated[list[str] | None, typer.Argument(help="Keys, such as order:17:won.")]
Failed = Annotated[bool, typer.Option("--failed", help="All that failed.")]


@app.command("list")
def list_entries(
    state: States = None,
    about: About = "",
    run: Run = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List actions, the latest first, and how many there are in each state."""
    entries, chosen = _entries(), _chosen((), state, about, run)
    items, counts = entries.listed(chosen, limit=limit), entries.counts()
    if as_json:
        print_json({"entries": [as_json_values(item) for item in items], "counts": counts})
        return
    from dealsync.terminal import print_entries

    print_entries(items, counts)


@app.command()
def show(key: Annotated[str, typer.Argument(help="Key of the action.")], as_json: Json = False) -> None:
    """Show one action and what became of it."""
    values = as_json_values(_entries().find(key))
    if as_json:
        print_json(values)
        return
    from dealsync.terminal import print_values

    print_values(values)


@app.command()
def approvals(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50, as_json: Json = False
) -> None:
    """List what people were asked to approve, what they answered, and what came of it."""
    from dealsync.settings import build_store, load_environment

    found = build_store(load_environment()).approvals.listed(limit=limit)
    if as_json:
        print_json({"approvals": [as_json_approval(one) for one in found]})
        return
    from dealsync.terminal import print_approvals

    print_approvals(found)


def as_json_approval(one: Approval) -> dict[str, Any]:
    """Return a question and its answer as plain values; the names are part of the interface."""
    return {
        "run": one.run_id,
        "reasons": list(one.reasons),
        "actions": dict(one.actions),
        "answer": one.answer.value if one.answer else None,
        "kinds": list(one.kinds),
        "answered_by": one.answered_by,
        "words": one.words,
        "applied_by_run": one.applied_by_run,
        **{
            name: at.isoformat() if (at := getattr(one, name)) else None
            for name in ("asked_at", "answer_by", "answered_at")
        },
    }


@app.command()
def retry(keys: Keys = None, failed: Failed = False, about: About = "", run: Run = "", as_json: Json = False) -> None:
    """Let the next runs do what failed, or what was given up; they do so only if it is still due."""
    from dealsync.ledger.runs import utc_now

    entries, chosen = _entries(), _wanted(keys, about, run, failed=failed)
    _tell(entries.retry(chosen, utc_now()), "to be done by the next run, if it is still due", as_json=as_json)


@app.command()
def dismiss(keys: Keys = None, failed: Failed = False, about: About = "", run: Run = "", as_json: Json = False) -> None:
    """Give up what failed: no run tries it again, until somebody says `retry`."""
    from dealsync.ledger.runs import utc_now

    entries, chosen = _entries(), _wanted(keys, about, run, failed=failed)
    _tell(entries.dismiss(chosen, utc_now()), "given up", as_json=as_json)


def as_json_values(item: EntryItem) -> dict[str, Any]:
    """Return an action as plain values; the names are part of the interface."""
    return {
        "key": item.idempotency_key,
        "kind": item.kind,
        "state": item.state.value,
        "source": item.source,
        "lead_id": item.lead_id,
        "reason": item.reason,
        "error": item.error,
        "attempts": item.attempts,
        "run": item.run_id,
        "made": item.result_id,
        **{
            name: at.isoformat() if (at := getattr(item, name)) else None
            for name in ("planned_at", "sent_at", "closed_at")
        },
    }


def _entries() -> Entries:
    from dealsync.settings import build_store, load_environment

    return build_store(load_environment()).entries


def _wanted(keys: Sequence[str] | None, about: str, run: str, *, failed: bool) -> ChosenEntries:
    """The actions that a person means; each that is named must be there."""
    if not (keys or about or run or failed):
        raise ConfigError("Say which actions: their keys, --failed, --about or --run")
    for key in keys or ():
        _entries().find(key)
    return _chosen(keys or (), [State.FAILED] if failed else None, about, run)


def _chosen(keys: Sequence[str], states: Sequence[State] | None, about: str, run_id: str) -> ChosenEntries:
    from dealsync.ledger.entries import ChosenEntries

    return ChosenEntries(tuple(keys), tuple(states or ()), about, run_id)


def _tell(keys: Sequence[str], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"keys": list(keys)})
    elif keys:
        for key in keys:
            typer.echo(f"{key}  {what}")
    else:
        raise UnknownEntry("None of them is in a state for that: applied ones are done, sent ones are looked up first")
