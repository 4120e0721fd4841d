"""Where a command works: the local run or a cluster."""

from pathlib import Path

import click
import pytest

from slipway.cli.places import Asked, Cluster, Local, choose

STATE = Path("/state")


def place(asked: Asked, environ: dict[str, str] | None = None, running: bool = False) -> object:
    return choose(asked, {"HOME": "/nonexistent"} | (environ or {}), lambda: running)[0]


def test_what_is_asked_for_counts_before_all_else() -> None:
    everything = {"KUBECONFIG": "/k", "SLIPWAY_STATE": "/s"}
    assert place(Asked(namespace="a"), everything, True) == Cluster(namespace="a")
    assert place(Asked(context="c"), everything, True) == Cluster(context="c")
    assert place(Asked(everywhere=True), everything, True) == Cluster(everywhere=True)
    assert place(Asked(state=STATE), everything, True) == Local(STATE)


def test_the_variable_of_the_state_folder_means_the_local_run() -> None:
    assert place(Asked(), {"KUBECONFIG": "/k", "SLIPWAY_STATE": "/s"}) == Local()


def test_a_plugin_of_kubectl_means_the_cluster() -> None:
    assert place(Asked(plugin=True), {"SLIPWAY_STATE": "/s"}, True) == Cluster()
    assert place(Asked(plugin=True, state=STATE)) == Local(STATE)


def test_a_run_that_goes_on_comes_before_a_cluster_and_says_so() -> None:
    chosen, note = choose(Asked(), {"KUBECONFIG": "/k"}, lambda: True)
    assert chosen == Local()
    assert "--namespace" in note
    assert choose(Asked(), {"HOME": "/nonexistent"}, lambda: True) == (Local(), "")


@pytest.mark.parametrize("environ", [{"KUBECONFIG": "/k"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}])
def test_without_a_run_it_is_the_cluster_if_there_is_one(environ: dict[str, str]) -> None:
    assert place(Asked(), environ) == Cluster()
    assert place(Asked()) == Local()


def test_a_kubeconfig_in_its_usual_place_is_a_cluster(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").touch()
    assert place(Asked(), {"HOME": str(tmp_path)}) == Cluster()


@pytest.mark.parametrize(
    "asked",
    [
        Asked(state=STATE, namespace="a"),
        Asked(state=STATE, everywhere=True),
        Asked(namespace="a", everywhere=True),
    ],
)
def test_both_places_are_refused(asked: Asked) -> None:
    with pytest.raises(click.UsageError):
        place(asked)
