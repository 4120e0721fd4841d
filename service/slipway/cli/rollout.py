"""`slipway rollout`: follow and steer how a changed service takes the old one's place."""

import sys
import time
from typing import Any

import click

from slipway.cli.local_runs import only_on_cluster
from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.places import Cluster, Local, Place, place_options

ROLLED_BACK, TIMED_OUT = 1, 3
_taken_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long the operator may take to carry it out.",
)
_LOOK_S = 0.3


@click.group()
def command() -> None:
    """Follow a rollout; pause, promote, abort or undo it.

    A local run rolls each change out by itself, the new revision before the old one stops; there is `status`.
    """


@command.command()
@click.argument("name")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="How long to wait; exit code 3 after it.  [default: no limit]")  # fmt: skip
@click.option("--wait/--no-wait", default=True, help="Wait for its end, or say where it is now.")
@place_options
@sentences
def status(name: str, timeout: float | None, wait: bool, place: Place) -> None:
    """Follow the rollout of NAME to its end.

    Exit code 0 when it is complete, 1 when it was rolled back or cannot go on, 3 after --timeout.
    """
    if isinstance(place, Local):
        _status_locally(place, name, timeout, wait)
        return
    from slipway.cli.cluster.progress import progress_of
    from slipway.cli.cluster.rollouts import follow_rollout
    from slipway.cli.cluster.sessions import find_service, on_cluster

    if not wait:
        service = on_cluster(place, lambda session: find_service(session, name))
        progress = progress_of(service, time.time())
    else:
        try:
            progress = on_cluster(place, lambda session: follow_rollout(session, name, timeout, click.echo))
        except TimeoutError:
            _timed_out(timeout)
    click.echo(progress.text)
    sys.exit(ROLLED_BACK if progress.state == "Failed" else 0)


def _timed_out(timeout: float | None) -> None:
    click.echo(f"Error: The rollout has not ended within {timeout:g} s; it goes on.", err=True)
    sys.exit(TIMED_OUT)


def _status_locally(place: Local, name: str, timeout: float | None, wait: bool) -> None:
    from slipway.cli.local_runs import views

    end, said = None if timeout is None else time.monotonic() + timeout, ""
    while True:
        (view,) = views(place, name)
        text = f"{view.state}: {view.message or f'{view.ready} of {view.wanted} replicas are ready'}"
        if text != said:
            click.echo(text)
            said = text
        failed = view.state == "Failed" or view.reason == "StartFailed"
        if failed or view.state == "Ready" or not wait:
            sys.exit(ROLLED_BACK if failed else 0)
        if end is not None and time.monotonic() > end:
            _timed_out(timeout)
        time.sleep(_LOOK_S)


@command.command()
@click.argument("name")
@place_options
@output_option
@sentences
def history(name: str, place: Place, output: str) -> None:
    """List the revisions that NAME has had, the newest first."""
    from slipway.cli.cluster.progress import history_rows
    from slipway.cli.cluster.sessions import find_service, on_cluster

    cluster = _cluster(place, "history of revisions")
    service = on_cluster(cluster, lambda session: find_service(session, name))
    if output == "json":
        print_json((service.get("status") or {}).get("history") or [])
        return
    print_table(
        ["NUMBER", "REVISION", "ROLE", "DEPLOYED", "OUTCOME", "REASON", "WHAT"], history_rows(service)
    )


@command.command()
@click.argument("name")
@_taken_option
@place_options
@sentences
def pause(name: str, timeout: float, place: Place) -> None:
    """Hold the rollout of NAME where it is."""
    _carry_out(place, name, timeout, "pause")


@command.command()
@click.argument("name")
@_taken_option
@place_options
@sentences
def resume(name: str, timeout: float, place: Place) -> None:
    """Let the paused rollout of NAME go on."""
    _carry_out(place, name, timeout, "resume")


@command.command()
@click.argument("name")
@click.option("--full", is_flag=True, help="Give it all requests, whatever steps are left.")
@_taken_option
@place_options
@sentences
def promote(name: str, full: bool, timeout: float, place: Place) -> None:
    """Take the canary of NAME to its next step."""
    _carry_out(place, name, timeout, "promote", "full" if full else "")


@command.command()
@click.argument("name")
@_taken_option
@place_options
@sentences
def abort(name: str, timeout: float, place: Place) -> None:
    """End the rollout of NAME and return to the revision that served before."""
    _carry_out(place, name, timeout, "abort")


@command.command()
@click.argument("name")
@click.option("--to", "revision", metavar="REVISION", default="",
              help="Number or name in `slipway rollout history`.  [default: the one before]")  # fmt: skip
@_taken_option
@place_options
@sentences
def undo(name: str, revision: str, timeout: float, place: Place) -> None:
    """Return NAME to an earlier revision; a changed spec ends that."""
    _carry_out(place, name, timeout, "undo", revision)


@command.command()
@click.argument("name")
@_taken_option
@place_options
@sentences
def retry(name: str, timeout: float, place: Place) -> None:
    """Try the revision of NAME again that was rolled back."""
    _carry_out(place, name, timeout, "retry")


def _carry_out(place: Place, name: str, timeout: float, verb: str, argument: str = "") -> None:
    from slipway.cli.cluster.rollouts import command_rollout
    from slipway.cli.cluster.sessions import on_cluster

    cluster = _cluster(place, f"rollout that one could {verb}")
    answer: Any = on_cluster(cluster, lambda session: command_rollout(session, name, verb, argument, timeout))
    if answer.refused:
        raise click.ClickException(answer.text)
    click.echo(answer.text)


def _cluster(place: Place, what: str) -> Cluster:
    if isinstance(place, Local):
        raise only_on_cluster(what, "change the file and run `slipway up` again.")
    return place
