"""`dealsync reviews`: payments that a person must place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from dealsync.completing import orders
from dealsync.errors import ConfigError
from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.core.plan import Decision

app = typer.Typer(name="reviews", help="List the payments that a person must place, or decide one.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


@app.callback(invoke_without_command=True)
def reviews(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Show decided and settled ones, too.")] = False,
    as_json: Json = False,
) -> None:
    """List the payments that a person must place, or decide one."""
    if context.invoked_subcommand is not None:
        return
    from dealsync import reviewing
    from dealsync.settings import load_environment

    environment = load_environment()
    items = reviewing.list_reviews(environment, everything=everything)
    if as_json:
        print_json({"reviews": reviewing.as_json(items)})
        return
    from dealsync.terminal import print_reviews

    print_reviews(items, environment.kommo_url)


@app.command()
def resolve(
    context: typer.Context,
    review: Annotated[str, typer.Argument(help="Id of the review, such as order:17.", autocompletion=orders)],
    lead: Annotated[int | None, typer.Option("--lead", min=1, help="It is the payment of this deal.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Make a deal of its own for it.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Leave the payment alone, for good.")] = False,
    as_json: Json = False,
) -> None:
    """Decide a review. It is never asked again; the next run acts on it."""
    import asyncio

    from dealsync import reviewing
    from dealsync.settings import load_environment

    order_id, wanted = reviewing.order_id_of(review), _wanted(lead, new=new, dismiss=dismiss)
    decided = reviewing.resolve_review(load_environment(), order_id, wanted, decided_by=_user())
    item = asyncio.run(decided)
    if as_json or (context.parent is not None and context.parent.params["as_json"]):  # before or behind "resolve"
        print_json({"review": reviewing.as_json([item])[0]})
    else:
        from dealsync.terminal import print_lines

        decision = reviewing.decision_words(item)
        print_lines([f"order:{order_id}: decided, {decision}. The next run acts on it: dealsync reconcile --apply"])


def _wanted(lead: int | None, *, new: bool, dismiss: bool) -> int | Decision:
    from dealsync.core.plan import Decision

    given: list[int | Decision] = [] if lead is None else [lead]
    given += [Decision.NEW] * new + [Decision.DISMISSED] * dismiss
    if len(given) != 1:
        raise ConfigError("Give exactly one of --lead N, --new and --dismiss")
    return given[0]


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have no name
        return f"user {os.getuid()}"
