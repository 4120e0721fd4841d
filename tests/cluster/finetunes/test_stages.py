"""A FineTune's stages as Jobs on a real cluster: done, refused, killed, suspended, cancelled, done again."""

from typing import Any

import pytest

from cluster.finetunes.conftest import in_background
from cluster.finetunes.objects import attempts, fine_tune, left, phase, pod_of, running, stage, until
from cluster.installation import condition, events
from cluster.kubectl import Kubectl
from cluster.operators import Running
from slipway.kube.config import Connection

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(240),
]
LONG = {"train": {"steps": 60, "seconds": 0.25}}
STAGES = ["prepare", "train", "evaluate", "register"]


def test_from_apply_to_a_registered_artifact_and_deleted_it_leaves_nothing(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    kubectl.apply(namespace, fine_tune())
    found = until(kubectl, namespace, phase("Succeeded"))
    status = found["status"]
    assert attempts(found) == dict.fromkeys(STAGES, 1)
    assert (status["dataset"], status["metric"]) == ("f/0123", "accuracy 0.9375")
    assert status["artifact"]["version"] == "v1"
    assert condition(found, "Ready")["status"] == "True"
    table = kubectl("get", "ft", f"--namespace={namespace}")
    assert "Succeeded" in table
    assert "accuracy 0.9375" in table
    writes = operator.client.writes
    kubectl("annotate", "finetune/f", "say=hello", f"--namespace={namespace}")
    kubectl("delete", "finetune", "f", f"--namespace={namespace}", "--cascade=foreground")
    assert left(kubectl, namespace) == set()
    assert operator.client.writes == writes, "what is as wanted is not written"


def test_a_gate_that_fails_ends_it_with_the_reason(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    said = "GateFailed:accuracy is 0.41 and must be at least 0.9; train longer, or lower the gate."
    faults = {"evaluate": {"fail": said}}
    kubectl.apply(namespace, fine_tune(faults=faults, deploy={"service": "m"}))
    found = until(kubectl, namespace, phase("Failed"))
    for kind, value in (("Ready", "False"), ("Degraded", "True")):
        assert condition(found, kind)["status"] == value
        assert condition(found, kind)["reason"] == "GateFailed"
        assert "0.41" in condition(found, kind)["message"]
    assert "artifact" not in found["status"]
    assert "0.41" in events(kubectl, namespace, "f")["GateFailed"]
    assert stage(found, "deploy")["state"] == "Waiting"


def test_a_pod_that_is_evicted_or_killed_goes_on_where_it_was(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    kubectl.apply(namespace, fine_tune(faults={"train": {"steps": 40, "seconds": 0.25}}))
    until(kubectl, namespace, running("train"))
    kubectl("delete", "pod", pod_of(kubectl, namespace, "train"), f"--namespace={namespace}", "--wait=false")
    until(kubectl, namespace, lambda item: stage(item, "train").get("attempts") == 2)
    until(kubectl, namespace, lambda item: running("train")(item) and stage(item, "train")["attempts"] == 2)
    kubectl(
        "delete", "pod", pod_of(kubectl, namespace, "train"), f"--namespace={namespace}", "--force",
        "--grace-period=0", "--wait=false",
    )  # fmt: skip
    found = until(kubectl, namespace, phase("Succeeded"))
    assert attempts(found)["train"] == 3
    log = kubectl("logs", f"--namespace={namespace}", pod_of(kubectl, namespace, "register"))
    begun = [line for line in log.splitlines() if line.startswith("train at")]
    assert len(begun) == 3
    assert begun[0] == "train at 0"
    assert all(line != "train at 0" for line in begun[1:]), "it goes on from its checkpoint"


def test_want_of_memory_says_what_to_change_and_a_change_begins_again(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    little = {"limits": {"memory": "64Mi"}}
    kubectl.apply(namespace, fine_tune(faults={"train": {"memory": 200}}, resources=little))
    found = until(kubectl, namespace, phase("Failed"))
    assert condition(found, "Degraded")["reason"] == "OutOfMemory"
    assert "microBatchSize" in events(kubectl, namespace, "f")["OutOfMemory"]
    enough = {"limits": {"memory": "512Mi"}}
    kubectl.apply(namespace, fine_tune(faults={"train": {"memory": 200}}, resources=enough))
    found = until(kubectl, namespace, phase("Succeeded"))
    assert attempts(found) == {**dict.fromkeys(STAGES, 1), "train": 2}


def test_a_stage_that_crashes_is_begun_three_times_and_then_on_request(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    kubectl.apply(namespace, fine_tune(faults={"train": {"exit": 3}}))
    found = until(kubectl, namespace, phase("Failed"))
    assert attempts(found)["train"] == 3
    assert condition(found, "Ready")["reason"] == "StageCrashed"
    assert "without a word" in condition(found, "Ready")["message"]
    kubectl("annotate", "finetune/f", "slipway.dev/retry=train@1700000000000", f"--namespace={namespace}")
    found = until(kubectl, namespace, lambda item: stage(item, "train").get("attempts", 0) >= 4)


def test_suspended_it_gives_its_place_back_and_resumed_it_goes_on(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    kubectl.apply(namespace, fine_tune(faults=LONG))
    until(kubectl, namespace, running("train"))
    patch = ("patch", "finetune/f", f"--namespace={namespace}", "--type=merge", "--patch")
    kubectl(*patch, '{"spec": {"suspend": true}}')
    until(kubectl, namespace, phase("Suspended"))
    kubectl.wait(namespace, "delete", "pod", "--selector=slipway.dev/stage=train")
    assert condition(kubectl.get(namespace, "finetune", "f"), "Progressing")["status"] == "False"
    kubectl(*patch, '{"spec": {"suspend": false}}')
    found = until(kubectl, namespace, phase("Succeeded"))
    assert attempts(found)["train"] == 2
    assert attempts(found)["prepare"] == 1


def test_cancelled_it_ends_and_its_volume_stays(kubectl: Kubectl, namespace: str, operator: Running) -> None:
    kubectl.apply(namespace, fine_tune(faults=LONG))
    until(kubectl, namespace, running("train"))
    kubectl(
        "patch", "finetune/f", f"--namespace={namespace}", "--type=merge", "--patch",
        '{"spec": {"cancel": true}}',
    )  # fmt: skip
    until(kubectl, namespace, phase("Cancelled"))
    kubectl.wait(namespace, "delete", "pod", "--selector=slipway.dev/stage=train")
    assert "persistentvolumeclaim/f-workspace" in left(kubectl, namespace)


def test_a_changed_spec_does_again_what_depends_on_it(
    kubectl: Kubectl, namespace: str, operator: Running
) -> None:
    kubectl.apply(namespace, fine_tune())
    until(kubectl, namespace, phase("Succeeded"))
    kubectl.apply(namespace, fine_tune(hyperparameters={"epochs": 1}))
    found = until(kubectl, namespace, phase("Succeeded"))
    assert attempts(found) == {"prepare": 1, "train": 2, "evaluate": 2, "register": 2}
    assert found["status"]["artifact"]["version"] == "v2"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"image": "localhost/slipway-none:test"}, "ImageNotPresent"),
        ({"storage": {"storageClass": "none", "size": "1Gi"}}, "VolumeNotBound"),
        ({"resources": {"requests": {"cpu": "900"}}}, "Unschedulable"),
    ],
    ids=["image", "volume", "room"],
)
def test_what_keeps_it_from_starting_is_told_with_the_mend(
    kubectl: Kubectl, namespace: str, connection: Connection, definitions: None, quick: dict[str, str],
    spec: dict[str, Any], reason: str,
) -> None:  # fmt: skip
    with in_background(connection, namespace, **quick | {"image_pull_policy": "Never"}):
        kubectl.apply(namespace, fine_tune(**spec))
        found = until(
            kubectl, namespace, lambda item: condition(item, "Degraded").get("reason") == reason, seconds=60
        )
        assert found["status"]["phase"] == "Pending"
        assert "spec." in condition(found, "Ready")["message"]
        assert reason in events(kubectl, namespace, "f")


def test_several_nodes_train_together(kubectl: Kubectl, namespace: str, operator: Running) -> None:
    # The fake training knows no torchrun: what counts is that both pods start and find the first by name.
    command = (
        "import os, socket, sys, time\n"
        "first = next(a.split('=')[1] for a in sys.argv if a.startswith('--master-addr'))\n"
        "for _ in range(100):\n"
        "    try: print(socket.gethostbyname(first), flush=True); break\n"
        "    except OSError: time.sleep(0.2)\n"
        "else: sys.exit(9)\n"
        "rank = next(a.split('=')[1] for a in sys.argv if a.startswith('--node-rank'))\n"
        "assert rank == os.environ['JOB_COMPLETION_INDEX']\n"
        "at = sys.argv.index('slipway.training')\n"
        "os.execvp('python3', ['python3', '-m', *sys.argv[at:]])\n"
    )
    item = fine_tune(nodes=2)
    volume = {"name": "bin", "configMap": {"name": "torchrun", "defaultMode": 0o555}}
    (container,) = item["spec"]["podTemplate"]["spec"]["containers"]
    container["volumeMounts"] = [{"name": "bin", "mountPath": "/opt/bin"}]
    container["env"].append({"name": "PATH", "value": "/opt/bin:/usr/bin:/bin"})
    item["spec"]["podTemplate"]["spec"]["volumes"] = [volume]
    kubectl.apply(
        namespace,
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "torchrun"},
            "data": {"torchrun": f"#!/usr/bin/python3\n{command}"},
        },
        item,
    )  # fmt: skip
    found = until(kubectl, namespace, phase("Succeeded"), seconds=120)
    assert attempts(found) == dict.fromkeys(STAGES, 1)
    pods = kubectl.get(namespace, "pods", "--selector=slipway.dev/stage=train")["items"]
    assert len(pods) == 2
