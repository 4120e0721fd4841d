"""Where a command works, the local run or a cluster: one rule for all of them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from slipway.local.folders import StateFolder

PLUGIN = "kubectl slipway"
"""What the command is called as a plugin of kubectl."""
RULE = """Works on the local run, or on a cluster: on the cluster with --context, --namespace or
--all-namespaces, and as `kubectl slipway`; on the local run with --state or $SLIPWAY_STATE; with none of
them on a local run that is going on, and otherwise on the cluster of $KUBECONFIG, of the pod, or of
~/.kube/config, if there is one."""
_SERVICE_ACCOUNT = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class Local:
    """The local run of a state folder; None: the default one."""

    state: Path | None = None

    @property
    def folder(self) -> "StateFolder":
        """Its state folder."""
        from slipway.cli.options import state_folder

        return state_folder(self.state)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, by a context of the kubeconfig, and a namespace of it; None: the current ones."""

    context: str | None = None
    namespace: str | None = None
    everywhere: bool = False
    """All namespaces."""


Place = Local | Cluster


class MissingError(click.ClickException):
    """There is no object of that name; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said about the place: by options, and by the way in which the command was called."""

    state: Path | None = None
    context: str | None = None
    namespace: str | None = None
    everywhere: bool = False
    plugin: bool = False

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.context, self.namespace, self.everywhere)


def choose(asked: Asked, environ: Mapping[str, str], running: Callable[[], bool]) -> tuple[Place, str]:
    """The place, and a note where it could have been meant otherwise; `running` tells of a local run.

    Raises UsageError where both are asked for.
    """
    named = asked.context is not None or asked.namespace is not None or asked.everywhere
    if asked.namespace is not None and asked.everywhere:
        raise click.UsageError(
            "--namespace is one namespace and --all-namespaces all of them; leave one out."
        )
    if named and asked.state is not None:
        raise click.UsageError(
            "--state is a local run; --context and --namespace are of a cluster. Leave one out."
        )
    if named or (asked.plugin and asked.state is None):
        return asked.cluster, ""
    if asked.state is not None:
        return Local(asked.state), ""
    if environ.get("SLIPWAY_STATE"):
        return Local(), ""
    there = has_cluster(environ)
    if running():
        hint = "Note: this is the local run; --namespace NAME means the cluster." if there else ""
        return Local(), hint
    return (asked.cluster, "") if there else (Local(), "")


def has_cluster(environ: Mapping[str, str]) -> bool:
    """Whether the environment knows a cluster."""
    if environ.get("KUBECONFIG") or environ.get(_SERVICE_ACCOUNT):
        return True
    return (Path(environ.get("HOME") or Path.home()) / ".kube" / "config").exists()


def _runs() -> bool:
    """Whether a local run is going on in the default state folder."""
    folder = Local().folder
    if not folder.status.exists():
        return False
    from slipway.local.following import supervisor_of

    return supervisor_of(folder.read_json(folder.status)) is not None


def place_options(command: Any) -> Any:
    """`--state`, `--context`, `--namespace`, `--all-namespaces`; the command gets a `place`."""

    @wraps(command)
    def placed(
        *args: Any,
        state: Path | None,
        context: str | None,
        namespace: str | None,
        everywhere: bool,
        **kwargs: Any,
    ) -> Any:
        plugin = click.get_current_context().find_root().info_name == PLUGIN
        place, note = choose(Asked(state, context, namespace, everywhere, plugin), os.environ, _runs)
        if note:
            click.echo(note, err=True)
        return command(*args, place=place, **kwargs)

    made: Any = placed
    for option in (
        click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Cluster: all namespaces."),
        click.option(
            "-n", "--namespace", metavar="NAME", help="Cluster: namespace; the context's own if left out."
        ),
        click.option("--context", metavar="NAME", help="Cluster: context of the kubeconfig."),
        click.option(
            "--state",
            type=click.Path(path_type=Path, file_okay=False),
            help="Local run: its state folder; also $SLIPWAY_STATE.  [default: ~/.local/state/slipway]",
        ),
    ):
        made = option(made)
    made.__doc__ = f"{(command.__doc__ or '').rstrip()}\n\n    {RULE.replace(chr(10), chr(10) + '    ')}\n"
    return made
