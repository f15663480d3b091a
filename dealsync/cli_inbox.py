"""`dealsync drain` and `dealsync inbox`: what webhooks brought, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dealsync.completing import objects
from dealsync.core.inbox import InboxState
from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.core.inbox import InboxItem
    from dealsync.drained import Drained
    from dealsync.ledger.inbox import Chosen, Inbox

app = typer.Typer(name="inbox", help="List and show the webhooks that came, or let them be handled again.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
State = Annotated[list[InboxState] | None, typer.Option("--state", help="Only those in this state; can be repeated.")]
EventName = Annotated[str, typer.Option("--event", metavar="NAME", help="Only events of this name.")]
About = Annotated[
    str,
    typer.Option("--about", metavar="OBJECT", help="Only about this object, such as order:17.", autocompletion=objects),
]
Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only those that came since then (UTC)."),
]
MOST_PICKED = 1000
"""Events that are asked for by their ids."""


def drain(as_json: Json = False) -> None:
    """Handle the webhooks that wait in the inbox, once. An empty inbox costs no request."""
    _drain((), as_json=as_json)


def forget(
    email: Annotated[str, typer.Argument(help="The address of the person to forget.")], as_json: Json = False
) -> None:
    """Erase a person from the database: raw webhooks, addresses, names. Kommo and Lemon Squeezy keep theirs."""
    from dealsync.ledger.database import told_as_ours
    from dealsync.ledger.erasure import erase_person
    from dealsync.settings import build_store, load_environment

    with told_as_ours():
        erased = erase_person(build_store(load_environment()).limits.database, email)
    if as_json:
        print_json({"erased": erased})
        return
    from dealsync.terminal import print_lines

    print_lines(f"{count:>6}  {kind}" for kind, count in erased.items())
    print_lines(["Erase the person in Kommo and Lemon Squeezy, too: what they hold comes back with the next run."])


@app.command("list")
def list_events(
    state: State = None,
    event: EventName = "",
    about: About = "",
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List webhooks, the latest first."""
    items = _inbox().listed(_chosen((), state, event, about, since), limit=limit)
    if as_json:
        print_json({"events": [_as_json(item) for item in items]})
        return
    from dealsync.terminal import print_inbox

    print_inbox(items)


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(help="Id of the event, or its beginning.")],
    body: Annotated[bool, typer.Option("--body", help="Print the raw body: it has personal data.")] = False,
    as_json: Json = False,
) -> None:
    """Show one webhook and what became of it."""
    inbox = _inbox()
    item = inbox.find(event_id)
    if body:
        typer.echo(inbox.body(item.event.event_id), nl=False)
    elif as_json:
        print_json(_as_json(item))
    else:
        from dealsync.terminal import print_values

        print_values(_as_json(item))


@app.command()
def replay(
    event_ids: Annotated[list[str] | None, typer.Argument(help="Ids of events, or their beginnings.")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that were given up.")] = False,
    state: State = None,
    event: EventName = "",
    about: About = "",
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Handle webhooks again: those named, or those that fit. Safe to repeat: every effect happens once."""
    from dealsync.errors import ConfigError
    from dealsync.ledger.runs import utc_now

    inbox = _inbox()
    named = tuple(inbox.find(beginning).event.event_id for beginning in event_ids or ())
    states = [*(state or []), *([InboxState.PARKED] if parked else [])]
    if not (named or states or event or about or since):
        raise ConfigError("Say which events: their ids, --parked, --state, --event, --about or --since")
    chosen = inbox.replay(_chosen(named, states, event, about, since), utc_now())
    if chosen:
        # Of many, none is picked: whatever waits besides them is handled, too.
        _drain(chosen if len(chosen) <= MOST_PICKED else (), as_json=as_json)
    elif as_json:
        print_json({"events": []})
    else:
        typer.echo("No event fits.")


@app.command()
def dismiss(
    event_id: Annotated[str, typer.Argument(help="Id of the event, or its beginning.")], as_json: Json = False
) -> None:
    """Leave a webhook alone for good. The hourly run still sees what it spoke of."""
    import getpass

    from dealsync.ledger.runs import utc_now

    inbox = _inbox()
    item = inbox.find(event_id)
    inbox.dismiss(item.event.event_id, getpass.getuser(), utc_now())
    if as_json:
        print_json(_as_json(inbox.find(item.event.event_id)))
    else:
        typer.echo(f"{item.event.event_id} is left alone.")


def _drain(event_ids: list[str] | tuple[()], *, as_json: bool) -> None:
    from dealsync.drain import drain as run_drain
    from dealsync.terminal import with_progress

    done = with_progress(lambda progress: run_drain(event_ids=event_ids, progress=progress))
    if as_json:
        print_json(_drained_json(done))
    else:
        from dealsync.terminal import print_drained

        print_drained(done)
    done.raise_if_failed()


def _inbox() -> Inbox:
    from dealsync.settings import build_store, load_environment

    return build_store(load_environment()).inbox


def _chosen(
    event_ids: tuple[str, ...], states: list[InboxState] | None, event: str, about: str, since: datetime | None
) -> Chosen:
    from dealsync.ledger.inbox import Chosen

    object_id = about.rpartition(":")[2].strip()
    return Chosen(event_ids, tuple(states or ()), event, object_id, since.replace(tzinfo=UTC) if since else None)


def _as_json(item: InboxItem) -> dict[str, Any]:
    return {
        "id": item.event.event_id,
        "sender": item.event.sender,
        "event": item.event.event_name,
        "about": item.about,
        "state": item.state.value,
        "received_at": item.received_at.isoformat(),
        "done_at": item.done_at.isoformat() if item.done_at else None,
        "attempts_failed": item.attempts,
        "next_try_at": item.next_try_at.isoformat() if item.state is InboxState.WAITING else None,
        "error": item.error,
        "result": item.result,
        "has_body": item.has_body,
    }


def _drained_json(done: Drained) -> dict[str, Any]:
    events = [
        {
            "id": event.event_id,
            "event": event.item.event.event_name,
            "about": event.item.about,
            "state": event.state.value,
            "result": event.words,
        }
        for event in done.events
    ]
    report = done.report.as_json() if done.report else {"actions": [], "reviews": [], "drift": {}, "run": None}
    return {"events": events, **report}
