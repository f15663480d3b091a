"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dealsync import (
    cli_alerts,
    cli_checkouts,
    cli_doctor,
    cli_explain,
    cli_inbox,
    cli_init,
    cli_ledger,
    cli_plans,
    cli_report,
    cli_reviews,
)
from dealsync.cli_plans import Deep, ExitCode, Since
from dealsync.errors import ConfigError, DealsyncError
from dealsync.files import write_private
from dealsync.printed import print_json

app = typer.Typer(
    name="dealsync",
    help="Keeps Kommo deals true to Lemon Squeezy payments.",
    no_args_is_help=True,
    rich_markup_mode=None,  # boxes of its own make help three times as slow, and wider than a narrow terminal
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 failed, 2 differences found (with --exit-code), 3 refused for safety.",
)
app.add_typer(cli_reviews.app, name="reviews")
app.add_typer(cli_inbox.app, name="inbox")
app.add_typer(cli_ledger.app, name="ledger")
app.command()(cli_init.init)
app.command()(cli_explain.explain)
app.command()(cli_inbox.drain)
app.command()(cli_inbox.forget)
app.command()(cli_checkouts.checkouts)
app.command()(cli_checkouts.bounce)
app.command()(cli_alerts.alerts)
app.command()(cli_plans.plan)
app.command("apply")(cli_plans.apply)
app.command()(cli_plans.undo)
app.command()(cli_doctor.doctor)
app.command()(cli_report.report)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
MaxChanges = Annotated[
    int | None,
    typer.Option(min=0, help="Refuse a plan that touches more deals. [default: limits.max_changes, 200]"),
]
EXIT_STOPPED = 130
STOPPED = "stopped; what was recorded stays, and the next run goes on from there"


def main() -> NoReturn:
    """Run the command line; what goes wrong is one line on standard error, and a traceback only with --debug."""
    try:
        # Not standalone: there a mistyped option exits with 2, which here means "differences found".
        code = app(prog_name="dealsync", standalone_mode=False)
        if code == EXIT_STOPPED:
            _complain(STOPPED, EXIT_STOPPED)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _leave_quietly()
    except DealsyncError as error:
        if _state.debug:
            raise
        code = _complain(error.line, error.exit_code)
    except typer.Abort:
        code = _complain(STOPPED, EXIT_STOPPED)
    except typer.TyperException as error:
        words = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        # Without a command, help was shown and there is nothing to complain about.
        code = _complain(f"{' '.join(words.split())} See: dealsync --help", 1) if words.strip() else 0
    except Exception as error:
        if _state.debug:
            raise
        code = _complain(_unexpected(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception) -> str:
    """What an error that nobody foresaw is told as: where it came from, but not its words, which may be personal."""
    place, trace = "", error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        place = f" in {module}, line {trace.tb_lineno}" if module.startswith("dealsync.") else place
        trace = trace.tb_next
    return f"unexpected {type(error).__name__}{place}: run again with --debug and report it"


def _leave_quietly() -> int:
    """Whoever read our output (`| head`) has seen enough; what is left of it must not be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


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
            print_json({"url": simulator.url, "control": f"{simulator.url}/control", "env_file": file})
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
    from dealsync.terminal import print_lines

    if as_json:
        print_json({"faults": switches})
        return
    for switch in switches:
        default = json.dumps(switch["default"]).strip('"')
        print_lines([f"{switch['name']}={default}  ({switch['type']})", f"    {switch['meaning']}"])


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
    from dealsync.poll import Reach
    from dealsync.reconcile import reconcile as run_reconcile
    from dealsync.terminal import with_progress

    reach = Reach(deep, since.replace(tzinfo=UTC) if since else None)
    report = with_progress(
        lambda progress: run_reconcile(apply=apply, reach=reach, max_changes=max_changes, progress=progress)
    )
    cli_plans.tell(report, as_json=as_json, exit_code=exit_code)


@app.command()
def receive(
    host: Annotated[str, typer.Option(help="Address to listen on; put a proxy with TLS before it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
) -> None:
    """Take in webhooks and buyers' visits to their claim links, until stopped; wake the flow if Prefect is set up."""
    from dealsync.receiver.serve import alone
    from dealsync.receiver.serve import receive as run_receiver
    from dealsync.settings import load_settings

    settings = load_settings()
    parts = alone(settings)

    def announce(url: str) -> None:
        typer.echo(f"Receiving at {url} (Ctrl-C stops)")
        if not settings.environment.prefect_api_url:
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
        print_json({"unblocked": lifted})
    else:
        typer.echo(f"Sending again: {', '.join(lifted)}" if lifted else "Nothing was blocked.")
