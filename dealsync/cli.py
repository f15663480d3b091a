"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dealsync import cli_alerts, cli_checkouts, cli_explain, cli_inbox, cli_ledger, cli_reviews
from dealsync.errors import ConfigError, DealsyncError

if TYPE_CHECKING:
    from dealsync.config import NameOrId
    from dealsync.report import Report

app = typer.Typer(
    name="dealsync",
    help="Keeps Kommo deals true to Lemon Squeezy payments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 failed, 2 differences found (with --exit-code), 3 refused for safety.",
)
app.add_typer(cli_reviews.app, name="reviews")
app.add_typer(cli_inbox.app, name="inbox")
app.add_typer(cli_ledger.app, name="ledger")
app.command()(cli_explain.explain)
app.command()(cli_inbox.drain)
app.command()(cli_inbox.forget)
app.command()(cli_checkouts.checkouts)
app.command()(cli_checkouts.bounce)
app.command()(cli_alerts.alerts)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 2 when deals are out of step.")]
Deep = Annotated[bool, typer.Option("--deep", help="Read every page again, not only what is new.")]
Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Read orders made since then (UTC)."),
]
MaxChanges = Annotated[
    int | None,
    typer.Option(min=0, help="Refuse a plan that touches more deals. [default: limits.max_changes, 200]"),
]
EXIT_DIFFERENCES = 2
EXIT_STOPPED = 130
STOPPED = "stopped; what was recorded stays, and the next run goes on from there"


def main() -> NoReturn:
    """Run the command line; a mistake of the user is one line on standard error, never a traceback."""
    try:
        # Not standalone: there a mistyped option exits with 2, which here means "differences found".
        code = app(prog_name="dealsync", standalone_mode=False)
        if code == EXIT_STOPPED:
            _complain(STOPPED, EXIT_STOPPED)
    except DealsyncError as error:
        if _state.debug:
            raise
        code = _complain(str(error), error.exit_code)
    except typer.Abort:
        code = _complain(STOPPED, EXIT_STOPPED)
    except typer.TyperException as error:
        words = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        # Without a command, help was shown and there is nothing to complain about.
        code = _complain(f"{' '.join(words.split())} See: dealsync --help", 1) if words.strip() else 0
    sys.exit(code if isinstance(code, int) else 0)


def _complain(line: str, code: int) -> int:
    print(f"dealsync: {line}", file=sys.stderr)  # noqa: T201
    return code


class _State:
    debug = False


_state = _State()


def _version(wanted: bool) -> None:
    if wanted:
        from dealsync import __version__

        typer.echo(f"dealsync {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every request, and show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _state.debug = debug
    if debug:
        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("dealsync").setLevel(logging.DEBUG)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep simulator and Prefect UI open until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Run the main job on embedded defaults: simulator, Prefect server, the deployed flow, a purchase."""
    from dealsync.demo import run_demo

    run_demo(keep=keep, as_json=as_json)


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on; leave it on loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8787,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal worlds.")] = 1,
    orders: Annotated[int, typer.Option(min=0, help="Past orders in the world.")] = 120,
    now: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Start of the clock (UTC). [default: now]"),
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="The clock only moves when /control/clock says so.")
    ] = False,
    latency_ms: Annotated[int, typer.Option(min=0, help="How long every answer takes.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME=VALUE", help="Set a switch of --faults; can be repeated."),
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the switches and stop.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Go on from this file when it is there; saved on exit."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Serve recorded payloads of this folder instead.", exists=True, file_okay=False),
    ] = None,
    env_file: Annotated[Path | None, typer.Option(help="Write the settings that a client needs there.")] = None,
    as_json: Json = False,
) -> None:
    """Imitate Lemon Squeezy and Kommo on one loopback port, with a seeded world and /control routes."""
    from dealsync.simulator.faults import Faults, described, parsed
    from dealsync.simulator.server import Simulator, serve

    if faults:
        _print_faults(described(), as_json=as_json)
        return

    def announce(simulator: Simulator) -> None:
        if env_file:
            write_private(env_file, "".join(f"{name}={value}\n" for name, value in simulator.environment().items()))
        if as_json:
            file = str(env_file) if env_file else None
            _print_json({"url": simulator.url, "control": f"{simulator.url}/control", "env_file": file})
            return
        typer.echo(
            f"Lemon Squeezy and Kommo are simulated at {simulator.url} (Ctrl-C stops); see {simulator.url}/control"
        )
        if env_file:
            typer.echo(f"Settings for a client: {env_file}")

    try:
        switches = dict(map(parsed, fault or ()))
        Faults().update(switches)  # a mistyped one is told at once, not after a world was made
        serve(
            host,
            port,
            on_ready=announce,
            seed=seed,
            orders=orders,
            now=now.replace(tzinfo=UTC) if now else None,
            running=not stopped,
            samples=samples,
            state=state,
            latency_ms=latency_ms,
            faults=switches,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"The simulator cannot run: {why or error}") from error


def _print_faults(switches: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        _print_json({"faults": switches})
        return
    for switch in switches:
        default = json.dumps(switch["default"]).strip('"')
        typer.echo(f"{switch['name']}={default}  ({switch['type']})")
        typer.echo(f"    {switch['meaning']}")


@app.command()
def init(
    pipeline: Annotated[str | None, typer.Option(help="Pipeline to watch: name or id. [default: the main one]")] = None,
    invoice_status: Annotated[str | None, typer.Option(help="Status of deals that wait for payment.")] = None,
    attention_status: Annotated[str | None, typer.Option(help="Status of deals that a person must look at.")] = None,
    receiver_url: Annotated[
        str | None, typer.Option(help="Where both accounts reach the receiver; registers their webhooks.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Find pipeline, statuses and users; make the missing LS fields; write dealsync.toml. Safe to repeat."""
    from dealsync.settings import load_environment
    from dealsync.setup import Wishes, set_up

    wishes = Wishes(_name_or_id(pipeline), _name_or_id(invoice_status), _name_or_id(attention_status), receiver_url)
    silent = yes or as_json or not sys.stdin.isatty()
    done = asyncio.run(set_up(load_environment(), wishes, (lambda _question, _names: None) if silent else _choose))
    if as_json:
        _print_json(done.as_json())
        return
    typer.echo(f"Lemon Squeezy store: {done.store}")
    typer.echo(f"Kommo account: {done.account}, pipeline {done.pipeline}")
    for role, status in done.statuses.items():
        typer.echo(f"  {role.replace('_', ' ')}: {status}")
    typer.echo(f"Owners of self-serve deals, in turn: {', '.join(done.users.values()) or 'nobody'}")
    typer.echo(f"LS fields made: {', '.join(done.fields_made) or 'none, all there'}")
    for line in done.webhooks:
        typer.echo(line)
    typer.echo(f"{done.config} {'written' if done.changed else 'was right already'}. Next: dealsync plan")


@app.command()
def plan(
    deep: Deep = False,
    since: Since = None,
    as_json: Json = False,
    exit_code: ExitCode = False,
) -> None:
    """Show what would be done, and why. Sends nothing to Kommo."""
    _reconcile(apply=False, deep=deep, since=since, max_changes=None, as_json=as_json, exit_code=exit_code)


@app.command()
def reconcile(
    apply: Annotated[bool, typer.Option("--apply", help="Write to Kommo. Without it: plan only.")] = False,
    deep: Deep = False,
    since: Since = None,
    max_changes: MaxChanges = None,
    as_json: Json = False,
    exit_code: ExitCode = False,
) -> None:
    """Poll both sides, compare, plan and, with --apply, close, create or flag deals."""
    _reconcile(apply=apply, deep=deep, since=since, max_changes=max_changes, as_json=as_json, exit_code=exit_code)


@app.command()
def receive(
    host: Annotated[str, typer.Option(help="Address to listen on; put a proxy with TLS before it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
) -> None:
    """Take in webhooks and buyers' visits to their claim links, until stopped; wake the flow if Prefect is set up."""
    from dealsync.receiver.serve import alone
    from dealsync.receiver.serve import receive as run_receiver
    from dealsync.settings import load_settings

    parts = alone(load_settings())

    def announce(url: str) -> None:
        typer.echo(f"Receiving at {url} (Ctrl-C stops)")
        if parts.beside is None:
            typer.echo("PREFECT_API_URL is not set: events are stored, and wait for the next run or `dealsync drain`")
        if not parts.kommo_token:
            typer.echo("KOMMO_WEBHOOK_TOKEN is not set: webhooks of Kommo are not taken in")

    run_receiver(parts, host, port, on_ready=announce)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; put a proxy with TLS before it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
) -> None:
    """Run the receiver and every deployment in one process. Needs a Prefect server (PREFECT_API_URL)."""
    from dealsync.local_prefect import serve_script

    # Prefect is imported by deployments only: this process becomes theirs.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(serve_script()), "--host", host, "--port", str(port)])  # noqa: S606


@app.command()
def unblock(as_json: Json = False) -> None:
    """Send again after an API had blocked this address. Only once its support has lifted the block."""
    from dealsync.ledger.database import told_as_ours
    from dealsync.settings import build_store, load_environment

    with told_as_ours():
        lifted = build_store(load_environment()).limits.lift_blocks()
    if as_json:
        _print_json({"unblocked": lifted})
    else:
        typer.echo(f"Sending again: {', '.join(lifted)}" if lifted else "Nothing was blocked.")


def _reconcile(
    *, apply: bool, deep: bool, since: datetime | None, max_changes: int | None, as_json: bool, exit_code: bool
) -> None:
    from dealsync.poll import Reach
    from dealsync.reconcile import reconcile as run_reconcile
    from dealsync.terminal import with_progress

    reach = Reach(deep, since.replace(tzinfo=UTC) if since else None)
    report = with_progress(
        lambda progress: run_reconcile(apply=apply, reach=reach, max_changes=max_changes, progress=progress)
    )
    if as_json:
        _print_json(report.as_json())
    else:
        _print_report(report)
    report.raise_if_failed()
    if exit_code and (report.plan.actions or report.plan.reviews):
        raise typer.Exit(EXIT_DIFFERENCES)


def _print_report(report: Report) -> None:
    from dealsync.terminal import print_report

    print_report(report)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read: it holds keys."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def _name_or_id(text: str | None) -> NameOrId | None:
    return int(text) if text is not None and text.isdecimal() else text


def _choose(question: str, names: Any) -> str | None:
    typer.echo(question)
    for number, name in enumerate(names, 1):
        typer.echo(f"  {number}. {name}")
    while not 1 <= (picked := int(typer.prompt("Number", type=int))) <= len(names):
        typer.echo(f"Give a number from 1 to {len(names)}.")
    return str(names[picked - 1])
