"""A Kubernetes cluster for tests, without Docker: `python -m cluster up`. See docs/cluster.md."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import click

from cluster import images
from cluster.bring_up import healthy, start_cluster
from cluster.control_groups import members
from cluster.control_plane import ready, start_api_server, stop_api_server
from cluster.locks import locked
from cluster.places import KUBECONFIG, MOST_NODES, NAME, running_nodes
from cluster.processes import ClusterError
from cluster.programs import programs
from cluster.teardown import take_down


def say(text: str) -> None:
    """Progress. Standard output is for what a shell may evaluate."""
    click.echo(text, err=True)


@click.group(help=__doc__)
def main() -> None:
    if sys.platform != "linux":
        raise ClusterError(
            "A cluster of its own needs Linux. Elsewhere, set KUBECONFIG to one that you have."
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "A cluster of its own needs root: it makes namespaces and mounts. Or set KUBECONFIG."
        )


@main.command()
@click.option("--nodes", type=click.IntRange(1, MOST_NODES), default=1, show_default=True)
def up(nodes: int) -> None:
    """Start a cluster, or add nodes to the one that runs. Prints where its kubeconfig is."""
    began = time.monotonic()
    with locked(NAME):
        start_cluster(nodes, say)
    say(f"cluster of {len(running_nodes())} ready after {time.monotonic() - began:.1f} s")
    click.echo(f"export KUBECONFIG={KUBECONFIG}")


@main.command()
def down() -> None:
    """Stop the cluster and everything in it. What is built stays in the cache."""
    began = time.monotonic()
    with locked(NAME):
        left = take_down()
    if left:
        raise ClusterError("left over:\n  " + "\n  ".join(left))
    say(f"no process, mount, namespace, control group or device left after {time.monotonic() - began:.1f} s")


@main.command()
def status() -> None:
    """Say what runs. Ends with 1 where no cluster answers."""
    say(f"API server: {'ready' if ready() else 'does not answer'}; {len(members())} processes")
    say("nodes: " + (", ".join(node.name for node in running_nodes()) or "none"))
    if not healthy():
        sys.exit(1)
    click.echo(f"export KUBECONFIG={KUBECONFIG}")


@main.command("images")
@click.argument("targets", nargs=-1, type=click.Choice([*images.TARGETS, *images.OWN]))
def build(targets: tuple[str, ...]) -> None:
    """Build the project's images (all, or those named) and give them to every node. Prints their names."""
    images.ensure(images.base(), say)
    for target in targets or tuple(images.TARGETS):
        image = images.named(target)
        images.ensure(image, say)
        give(image.name)
        click.echo(image.name)


@main.command()
@click.argument("image")
def load(image: str) -> None:
    """Give every node an image that buildah has."""
    images.keep(image)
    give(image)


@main.group()
def apiserver() -> None:
    """Stop and start the API server alone."""


@apiserver.command("stop")
def api_server_stop() -> None:
    stop_api_server()


@apiserver.command("start")
def api_server_start() -> None:
    start_api_server(programs())


@main.command("programs")
def show_programs() -> None:
    """Print the folder of kubectl, helm and the rest, for PATH."""
    click.echo(programs())


def give(name: str) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        loaded = list(pool.map(lambda node: images.load(node, name), running_nodes()))
    say(f"{name}: {'loaded' if any(loaded) else 'was there'} after {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    try:
        main.main(prog_name="python -m cluster", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ClusterError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
