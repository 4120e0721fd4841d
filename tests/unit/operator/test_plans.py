"""From an LLMService and what is there to what is to be done; turn by turn until nothing is."""

from typing import Any

import pytest

from slipway.kube.kinds import DEPLOYMENT, JOB, PVC, SERVICE
from slipway_operator.executor import kind_of
from slipway_operator.matching import matches
from unit.operator.written import Namespace, llm_service, parsed

CACHE = {"storageClass": "fast"}
QUICK = {"analysis": {"interval": "1s"}}


def changed(namespace: Namespace, model: str) -> str:
    """Give the service another model; its revision."""
    namespace.parent["spec"]["model"] = {"source": f"hf://org/{model}"}
    namespace.parent["metadata"]["generation"] += 1
    return parsed(namespace.parent).revision


def revisions(namespace: Namespace) -> list[int]:
    """Replicas of the Deployments."""
    return [item["spec"]["replicas"] for item in namespace.of(DEPLOYMENT).values()]


def finish(namespace: Namespace, **status: Any) -> None:
    """Let the fetch job end."""
    (job,) = (item for item in namespace.of(JOB).values() if "status" not in item)
    job["status"] = {"conditions": [{"status": "True", **status}]}


@pytest.mark.parametrize(
    "spec", [{}, {"replicas": 3}, {"replicas": 0}, {"cache": CACHE}, {"autoscaling": {"maxReplicas": 3}}],
    ids=["one", "three", "none", "cache", "scaled"],
)  # fmt: skip
def test_once_all_is_as_wanted_nothing_is_left_to_do(spec: dict[str, Any]) -> None:
    namespace = Namespace(llm_service(rollout=QUICK, **spec))
    namespace.turn()
    if "cache" in spec:
        finish(namespace, type="Complete")
    namespace.run()
    assert namespace.condition("Progressing")[0] == "False"
    again = namespace.plan()
    for manifest in again.apply:
        assert matches(manifest, namespace.children[kind_of(manifest), manifest["metadata"]["name"]])
    assert again.status == namespace.status
    assert (again.delete, again.events) == ((), ())


def test_engines_wait_for_the_first_model_to_be_fetched() -> None:
    namespace = Namespace(llm_service(cache=CACHE))
    namespace.run(3)
    assert len(namespace.of(JOB)) == len(namespace.of(PVC)) == 1
    assert namespace.of(DEPLOYMENT) == {}
    assert namespace.condition("Ready") == ("False", "Fetching")
    assert namespace.status["fetch"]["phase"] == "Running"
    finish(namespace, type="Complete")
    namespace.run()
    assert revisions(namespace) == [1]
    assert namespace.condition("Ready") == ("True", "Serving")


def test_a_first_model_that_cannot_be_fetched_is_told() -> None:
    namespace = Namespace(llm_service(cache=CACHE))
    namespace.turn()
    finish(namespace, type="Failed", message="no such repository")
    namespace.turn()
    assert namespace.condition("Ready") == ("False", "FetchFailed")
    assert namespace.condition("Degraded") == ("True", "FetchFailed")
    assert "no such repository" in str(namespace.status["conditions"])


def test_the_old_model_serves_while_the_new_one_is_fetched_and_when_that_fails() -> None:
    namespace = Namespace(llm_service(cache=CACHE, rollout=QUICK))
    namespace.turn()
    finish(namespace, type="Complete")
    namespace.run()
    old = namespace.status["stableRevision"]
    changed(namespace, "new")
    namespace.run(5)
    assert list(namespace.of(DEPLOYMENT)) == [f"m-{old}"]
    assert namespace.condition("Ready") == ("True", "Serving")
    finish(namespace, type="Failed", message="no such repository")
    namespace.run(5)
    assert namespace.status["stableRevision"] == old
    assert namespace.condition("Degraded") == ("True", "FetchFailed")
    assert revisions(namespace) == [1]


def test_jobs_of_earlier_models_go() -> None:
    namespace = Namespace(llm_service(cache=CACHE, rollout=QUICK))
    for model in ("a", "b", "c"):
        changed(namespace, model)
        namespace.turn()
        finish(namespace, type="Complete")
        namespace.run()
    assert len(namespace.of(JOB)) == 1


def test_an_old_revision_goes_with_all_it_had() -> None:
    namespace = Namespace(llm_service(rollout=QUICK))
    namespace.run()
    new = changed(namespace, "new")
    namespace.run(60)
    assert list(namespace.of(DEPLOYMENT)) == [f"m-{new}"]
    assert set(namespace.of(SERVICE)) == {"m", f"m-{new}"}
    assert [entry["outcome"] for entry in namespace.status["history"]] == ["Complete", "Complete"]


def test_a_service_of_a_revision_whose_deployment_is_gone_goes_too() -> None:
    namespace = Namespace(llm_service(rollout=QUICK))
    namespace.run()
    old = namespace.of(SERVICE)[f"m-{namespace.status['stableRevision']}"]
    new = changed(namespace, "new")
    namespace.run(60)
    namespace.children[SERVICE, old["metadata"]["name"]] = old  # Killed between the two deletions.
    namespace.run(2)
    assert set(namespace.of(SERVICE)) == {"m", f"m-{new}"}


def test_a_revision_of_which_nobody_knows_what_it_was_does_not_stay_for_ever() -> None:
    namespace = Namespace(llm_service(rollout=QUICK))
    namespace.run()
    new = changed(namespace, "new")
    namespace.parent["status"] = {}  # A backup without the status was restored.
    namespace.run(90)
    assert list(namespace.of(DEPLOYMENT)) == [f"m-{new}"]
    assert namespace.condition("Ready") == ("True", "Serving")


def test_a_plan_is_pure() -> None:
    namespace = Namespace(llm_service(rollout=QUICK))
    namespace.run(3)
    assert namespace.plan() == namespace.plan()
