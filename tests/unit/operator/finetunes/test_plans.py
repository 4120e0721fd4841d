"""From a FineTune and what is there to what is to be done; turn by turn through its stages."""

from typing import Any

import pytest

from slipway.kube.kinds import DEPLOYMENT, JOB, POD, PVC, SERVICE, TRAIN_JOB, TRAINING_RUNTIME
from slipway_operator import names
from unit.operator.finetunes.workshop import DEPLOY, Workshop, fine_tune

SEARCH = {"search": {"trials": 2, "parameters": [{"name": "learningRate", "values": ["1e-4", "2e-4"]}]}}
ALL = ["f-prepare-1", "f-train-1", "f-evaluate-1", "f-register-1"]


def at(stage: str, **spec: Any) -> Workshop:
    """A FineTune whose `stage` has just begun."""
    workshop = Workshop(fine_tune(**spec))
    workshop.turn()
    while f"-{stage}-" not in workshop.job:
        workshop.succeed()
        workshop.turn()
    return workshop


def test_stages_are_jobs_one_after_another_and_their_results_are_told() -> None:
    workshop = Workshop(fine_tune()).until_over()
    assert workshop.made == ALL
    status = workshop.status
    assert status["phase"] == "Succeeded"
    assert status["dataset"] == "f/0123"
    assert status["metrics"] == {"accuracy": "0.9375"}
    assert status["metric"] == "accuracy 0.9375"
    assert status["artifact"]["version"] == "v1"
    assert status["artifact"]["source"].startswith("registry+http://f-artifacts.models.svc:8002/f/v1@sha256:")
    assert workshop.condition("Ready") == ("True", "Succeeded")
    assert workshop.condition("Progressing") == ("False", "Succeeded")
    assert workshop.condition("Degraded") == ("False", "AsWanted")
    again = workshop.plan()
    assert again.status == status
    assert again.delete == ()
    assert again.events == ()
    assert not [each for each in again.apply if each["kind"] == "Job"]


def test_a_search_comes_before_training_and_its_trials_are_told() -> None:
    workshop = Workshop(fine_tune(**SEARCH)).until_over()
    assert workshop.made[1:3] == ["f-search-1", "f-train-1"]
    assert workshop.status["bestTrial"] == "t1"
    assert workshop.status["trials"][0]["metrics"] == {"eval_loss": "0.5"}


@pytest.mark.parametrize("killed", range(8))
def test_an_operator_that_is_killed_before_it_writes_the_status_comes_to_the_same(killed: int) -> None:
    workshop = Workshop(fine_tune())
    for number in range(30):
        workshop.turn(killed=number == killed)
        if (JOB, workshop.job) in workshop.children and "status" not in workshop.children[JOB, workshop.job]:
            workshop.succeed()
    assert workshop.made == ALL
    assert workshop.status["phase"] == "Succeeded"


def test_a_failed_gate_ends_the_way_and_the_reason_is_plain() -> None:
    workshop = at("evaluate", **DEPLOY)
    said = {"state": "Failed", "reason": "GateFailed", "message": "accuracy is 0.4 and must be 0.9."}
    workshop.end(said, code=1)
    for _ in range(5):
        workshop.turn()
    assert workshop.status["phase"] == "Failed"
    assert workshop.condition("Ready") == ("False", "GateFailed")
    assert workshop.condition("Degraded") == ("True", "GateFailed")
    assert workshop.events.count(("Warning", "GateFailed")) == 1
    assert workshop.job == "f-evaluate-1"
    assert "artifact" not in workshop.status
    workshop.change(evaluation={"gates": [{"metric": "accuracy", "min": "0.3"}]})
    workshop.until_over()
    assert workshop.made[-2:] == ["f-evaluate-2", "f-register-1"], "what was trained is not trained again"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"code": 75}, "Interrupted"),
        ({"code": 137}, "Interrupted"),
        (
            {"code": 137, "conditions": [
                {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
            ]},
            "PreemptionByScheduler",
        ),
    ],
)  # fmt: skip
def test_a_stage_that_was_interrupted_goes_on_however_often(end: dict[str, Any], reason: str) -> None:
    workshop = at("train")
    for number in range(2, 8):
        workshop.end(None, **end)
        workshop.turn()
        waits = ("Warning", reason) in workshop.events
        assert waits or workshop.job == f"f-train-{number}"
        workshop.now += 1000
        workshop.turn()
        assert workshop.job == f"f-train-{number}"
    assert workshop.stage("train")["attempts"] == 7
    assert [name for kind, name in workshop.children if kind == JOB] == ["f-prepare-1", "f-train-7"]
    workshop.until_over()
    assert workshop.status["phase"] == "Succeeded"


def test_a_pod_that_is_gone_is_made_again_after_a_wait() -> None:
    workshop = at("train")
    workshop.now = 1_000_000_000.0
    workshop.lose_pod()
    made = workshop.turn()
    assert workshop.job == "f-train-1"
    assert made.again_after is not None
    assert workshop.stage("train")["state"] == "Waiting"
    workshop.now += made.again_after
    workshop.turn()
    assert workshop.job == "f-train-2"


def test_a_stage_that_crashes_again_and_again_is_given_up() -> None:
    workshop = at("train")
    for _ in range(6):
        if "status" not in workshop.children[JOB, workshop.job]:
            workshop.end(None, code=1, message="Traceback\nImportError: no module")
        workshop.turn()
        workshop.now += 1000
    assert workshop.job == "f-train-3"
    assert workshop.condition("Ready") == ("False", "StageCrashed")
    assert "ImportError: no module" in workshop.stage("train")["message"]
    workshop.parent["metadata"]["annotations"] = {"slipway.dev/retry": "train@1700000000000"}
    workshop.turn()
    assert workshop.job == "f-train-4"


def test_want_of_memory_is_not_tried_again_until_there_is_more() -> None:
    workshop = at("train")
    workshop.end(None, code=137, reason="OOMKilled")
    for _ in range(3):
        workshop.turn()
    assert workshop.condition("Degraded") == ("True", "OutOfMemory")
    assert "microBatchSize" in workshop.stage("train")["message"]
    assert workshop.job == "f-train-1"
    workshop.change(resources={"limits": {"memory": "8Gi"}})
    workshop.turn()
    assert workshop.job == "f-train-2"


def test_a_training_that_takes_too_long_is_ended() -> None:
    workshop = at("train", deadline="1h")
    assert workshop.children[JOB, "f-train-1"]["spec"]["activeDeadlineSeconds"] == 3600
    assert "activeDeadlineSeconds" not in workshop.children[JOB, "f-prepare-1"]["spec"]
    workshop.end(None, code=137, why="DeadlineExceeded")
    workshop.turn()
    assert workshop.condition("Ready") == ("False", "DeadlineExceeded")


def test_suspended_it_gives_its_pod_back_and_goes_on_later() -> None:
    workshop = at("train")
    workshop.change(suspend=True)
    workshop.turn()
    assert (JOB, "f-train-1") not in workshop.children
    assert workshop.status["phase"] == "Suspended"
    assert workshop.condition("Progressing") == ("False", "Suspended")
    workshop.change(suspend=False)
    workshop.turn()
    assert workshop.job == "f-train-1", "the pod before is still writing its checkpoint"
    del workshop.children[POD, "f-train-1-p"]
    workshop.turn()
    assert workshop.job == "f-train-2"
    workshop.until_over()
    assert workshop.status["phase"] == "Succeeded"


def test_cancelled_it_ends_and_keeps_what_is_there() -> None:
    workshop = at("train")
    workshop.change(cancel=True)
    workshop.turn()
    assert workshop.status["phase"] == "Cancelled"
    assert workshop.status["completedAt"]
    assert (JOB, "f-train-1") not in workshop.children
    assert (PVC, "f-workspace") in workshop.children


def test_only_stages_whose_inputs_changed_are_done_again() -> None:
    workshop = Workshop(fine_tune()).until_over()
    workshop.change(hyperparameters={"epochs": 1})
    workshop.until_over()
    assert workshop.made == [*ALL, "f-train-2", "f-evaluate-2", "f-register-2"]
    workshop.change(resources={"requests": {"cpu": "2"}}, suspend=False)
    workshop.until_over()
    assert len(workshop.made) == 7, "where it runs is no matter of what it does"
    assert workshop.specs() == set(), "nothing reads it any more"


def test_a_changed_spec_stops_what_runs_for_the_old_one() -> None:
    workshop = at("train")
    workshop.change(hyperparameters={"epochs": 1})
    workshop.turn()
    assert (JOB, "f-train-1") not in workshop.children
    workshop.turn()
    assert workshop.job == "f-train-1", "two must not write to one folder"
    del workshop.children[POD, "f-train-1-p"]
    workshop.turn()
    assert workshop.job == "f-train-2"


def test_a_retry_is_done_once_and_for_what_comes_after_too() -> None:
    workshop = Workshop(fine_tune()).until_over()
    workshop.parent["metadata"]["annotations"] = {"slipway.dev/retry": "evaluate@1700000000000"}
    workshop.until_over()
    assert workshop.made == [*ALL, "f-evaluate-2", "f-register-2"]
    command = workshop.children[JOB, "f-evaluate-2"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[-2:] == ["--redo", "evaluate@1700000000000"]
    del workshop.parent["metadata"]["annotations"]
    workshop.until_over()
    assert len(workshop.made) == 6


def test_an_outcome_that_nobody_saw_is_asked_for_again() -> None:
    workshop = at("train")
    workshop.succeed()
    del workshop.children[POD, "f-train-1-p"]
    workshop.now += 1000
    workshop.turn()
    assert workshop.job == "f-train-2"


def test_what_keeps_a_pod_from_starting_is_told_with_the_mend() -> None:
    workshop = at("prepare")
    workshop.children[POD, "f-prepare-1-p"]["status"] = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled", "status": "False",
                "message": "pod has unbound immediate PersistentVolumeClaims",
            }
        ],
    }  # fmt: skip
    workshop.turn()
    assert workshop.status["phase"] == "Pending"
    assert workshop.condition("Degraded") == ("True", "VolumeNotBound")
    assert "spec.storage" in workshop.stage("prepare")["message"]


def test_progress_is_told_with_the_time_that_is_left() -> None:
    workshop = at("train")
    workshop.observed["progress"] = {
        "stage": "train", "step": 30, "total_steps": 120, "eta_seconds": 200.4, "message": "Trains.",
        "metrics": {"loss": 1.25},
    }  # fmt: skip
    workshop.turn()
    progress = workshop.status["progress"]
    assert (progress["steps"], progress["eta"], progress["etaSeconds"]) == ("30/120", "3m20s", 200)
    assert progress["metrics"] == {"loss": "1.25"}
    workshop.observed.clear()
    workshop.turn()
    assert workshop.status["progress"] == progress, "an operator that has just begun does not know better"


def test_several_nodes_are_an_indexed_job_whose_pods_find_the_first() -> None:
    workshop = at("train", nodes=2)
    job = workshop.children[JOB, "f-train-1"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    command = job["template"]["spec"]["containers"][0]["command"]
    assert command[0] == "torchrun"
    assert "--master-addr=f-train-1-0.f-nodes" in command
    assert job["template"]["spec"]["subdomain"] == "f-nodes"
    service = workshop.children[SERVICE, "f-nodes"]["spec"]
    assert service["selector"].items() <= job["template"]["metadata"]["labels"].items()
    assert "completionMode" not in workshop.children[JOB, "f-prepare-1"]["spec"]


def test_where_kubeflows_trainer_is_several_nodes_are_a_train_job() -> None:
    workshop = Workshop(fine_tune(nodes=2), optional=frozenset({TRAIN_JOB.plural, TRAINING_RUNTIME.plural}))
    workshop.turn()
    workshop.succeed()
    workshop.turn()
    runtime = workshop.children[TRAINING_RUNTIME, "f-train-1"]["spec"]
    train = workshop.children[TRAIN_JOB, "f-train-1"]
    assert train["spec"]["runtimeRef"]["name"] == "f-train-1"
    assert runtime["mlPolicy"] == {"numNodes": 2, "torch": {}}
    (node,) = runtime["template"]["spec"]["replicatedJobs"]
    (container,) = node["template"]["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["command"][:4]) == (
        "node", ["torchrun", "-m", "slipway.training", "train"],
    )  # fmt: skip
    train["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    del workshop.children[POD, "f-train-1-p"]
    workshop.now += 1000
    workshop.turn()
    assert workshop.job == "f-train-2"


def entry(**said: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "m"},
        "status": {
            "adapters": [
                {
                    "name": "f", "engineName": "f.v1", "fineTune": "f", "weight": 100, "state": "Ready",
                    "source": f"registry+http://f-artifacts.models.svc:8002/f/v1@sha256:{'a' * 64}", **said,
                }
            ]
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("service", "phase", "reason"),
    [
        (None, "Deploying", "ServiceNotFound"),
        ({"metadata": {"name": "m"}}, "Deploying", "Deploying"),
        (entry(state="Loading", weight=0, message="LoRANotEnabled: add it"), "Deploying", "LoRANotEnabled"),
        (entry(weight=20), "Deploying", "Canary"),
        (entry(), "Succeeded", "Deployed"),
        (entry(state="RolledBack", weight=0, message="worse"), "Failed", "RolledBack"),
    ],
    ids=["no service", "not seen", "no room", "canary", "deployed", "taken back"],
)
def test_deploying_is_as_far_as_the_service_says(service: Any, phase: str, reason: str) -> None:
    workshop = Workshop(fine_tune(**DEPLOY), service=service).until_over()
    assert workshop.status["phase"] == phase
    assert workshop.condition("Ready")[1] == reason
    assert (DEPLOYMENT, "f-artifacts") in workshop.children


def test_a_whole_model_is_not_brought_to_running_engines() -> None:
    workshop = Workshop(fine_tune(method="full", **DEPLOY), service=entry()).until_over()
    assert workshop.condition("Ready") == ("False", "NotAnAdapter")
    assert (DEPLOYMENT, "f-artifacts") not in workshop.children


def test_artifacts_are_served_no_more_when_nothing_is_deployed() -> None:
    workshop = Workshop(fine_tune(**DEPLOY), service=entry()).until_over()
    del workshop.parent["spec"]["deploy"]
    workshop.turn()
    assert (DEPLOYMENT, "f-artifacts") not in workshop.children
    assert workshop.status["phase"] == "Succeeded"


def test_every_child_goes_with_the_fine_tune() -> None:
    workshop = Workshop(fine_tune(nodes=2, **DEPLOY), service=entry()).until_over()
    for (kind, _), item in workshop.children.items():
        if kind != POD:
            (owner,) = item["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == ("uid-f", True)
            assert item["metadata"]["labels"][names.FINE_TUNE] == "f"


def test_a_claim_that_is_named_is_used_and_none_is_made() -> None:
    workshop = at("prepare", storage={"claim": "shared"})
    assert not [name for kind, name in workshop.children if kind == PVC]
    volumes = workshop.children[JOB, "f-prepare-1"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "workspace", "persistentVolumeClaim": {"claimName": "shared"}} in volumes
