"""`dealsync explain`: why a deal is as it is."""

from __future__ import annotations

from typing import Annotated

import typer

from dealsync.printed import print_json

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


def explain(
    about: Annotated[
        str, typer.Argument(help="order:17, lead:31, subscription:9, invoice:44, or a buyer's e-mail address.")
    ],
    as_json: Json = False,
) -> None:
    """Tell why a deal is as it is: events, evidence, rules, requests, answers, and people's edits, in their order."""
    from dealsync.explain import explain as explain_object
    from dealsync.settings import load_environment

    explanation = explain_object(load_environment(), about)
    if as_json:
        print_json(explanation.as_json())
        return
    from dealsync.terminal_explain import print_explanation

    print_explanation(explanation)
