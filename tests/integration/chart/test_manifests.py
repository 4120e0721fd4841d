"""The same installation without Helm: k8s/base is the chart, rendered."""

import subprocess
import sys
from pathlib import Path

import yaml

from cluster.helm import Helm
from cluster.programs import programs
from integration.chart.objects import container, named, of_kind, pods

ROOT = Path(__file__).parents[3]


def test_the_files_are_what_the_script_writes(helm: Helm) -> None:
    check = [sys.executable, str(ROOT / "scripts/kustomize-base"), "--check", str(helm.program)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_kustomize_makes_what_helm_installs(helm: Helm) -> None:
    command = [str(programs() / "kubectl"), "kustomize", str(ROOT / "k8s/base")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))
    rendered = [each for each in helm.render("--no-hooks") if each["kind"] != "Secret"]
    identity = {(each["kind"], each["metadata"]["name"]) for each in built}
    assert identity == {(each["kind"], each["metadata"]["name"]) for each in rendered} | {
        ("Namespace", "slipway-system")
    }
    assert "helm.sh" not in done.stdout
    for name, pod in pods(built):
        key = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
        assert key == ["slipway-engine-key"], name
    for deployment in of_kind(built, "Deployment"):
        same = named(rendered, "Deployment", deployment["metadata"]["name"])
        assert container(deployment)["env"] == container(same)["env"]


def test_the_readme_tells_of_the_secret_that_is_missing() -> None:
    assert "create secret generic slipway-engine-key" in (ROOT / "k8s/README.md").read_text()
