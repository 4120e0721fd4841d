"""From `kubectl apply` of a FineTune to engines that answer by its adapter: no new pods, no request lost."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.finetunes.objects import Item, fine_tune, left, phase, running, stage
from cluster.finetunes.objects import until as until_so
from cluster.installation import Installation, condition, events, image, key, service, until
from cluster.kubectl import Kubectl
from cluster.serving.conftest import installed
from cluster.traffic import Traffic, traffic

pytestmark = pytest.mark.timeout(300, func_only=True)
SMALL = {"requests": {"cpu": "10m", "memory": "128Mi"}}
SETTINGS = {"progress_interval": 1.0, "interruption_wait": 0.5, "adapter_interval": 0.5}
QUICK = {"analysis": {"interval": "2s", "minRequests": 10, "failureLimit": 2}}
DEPLOY = {"service": "m", "name": "support"}


@pytest.fixture(scope="module")
def slipway(
    kubectl: Kubectl, project_image: Callable[[str], str], fake_engine: str, fake_training: str
) -> Iterator[Installation]:
    """Slipway with the fake engine and the fake training."""
    engines = {"device": "cpu", "cpu": image(fake_engine)}
    more = {
        "training": {"image": image(fake_training)},
        "operator": {"replicas": 2, "resources": SMALL, "settings": SETTINGS},
    }
    with installed(kubectl, project_image("gateway"), engines, **more) as installation:
        yield installation


@pytest.fixture
def models(slipway: Installation, kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """A namespace with a key that may call everything."""
    kubectl.apply(namespace, key("tester"))
    kubectl.wait(namespace, "condition=Ready", "apikey/tester")
    yield namespace
    kinds = "finetunes,llmservices,apikeys"
    kubectl("delete", kinds, "--all", f"--namespace={namespace}", "--timeout=60s")


def serve(kubectl: Kubectl, namespace: str, *args: str, replicas: int = 2) -> set[str]:
    """Have the model `m` served; the pods that do."""
    kubectl.apply(namespace, service("m", "--say=base", *args, replicas=replicas, rollout=QUICK))
    until(kubectl, namespace, "m", lambda found: found["status"].get("readyReplicas") == replicas)
    return pods(kubectl, namespace)


def pods(kubectl: Kubectl, namespace: str) -> set[str]:
    found = kubectl.get(namespace, "pods", "--selector=slipway.dev/service=m")["items"]
    return {each["metadata"]["uid"] for each in found}


def adapters(found: Item) -> dict[str, tuple[str, int]]:
    """State and weight by engines' names."""
    entries = found.get("status", {}).get("adapters", ())
    return {each["engineName"]: (each["state"], each.get("weight", 0)) for each in entries}


def loaded(kubectl: Kubectl, namespace: str) -> list[set[str]]:
    """What each engine serves beside the model."""
    script = (
        "import json, os, urllib.request as u;"
        "r = u.Request('http://127.0.0.1:8001/v1/models', headers="
        "{'authorization': 'Bearer ' + os.environ['SLIPWAY_ENGINE_KEY']});"
        "print(json.dumps([d['id'] for d in json.load(u.urlopen(r))['data'] if d['parent']]))"
    )
    found = kubectl.get(namespace, "pods", "--selector=slipway.dev/service=m")["items"]
    names = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
    said = [
        kubectl("exec", f"--namespace={namespace}", name, "--", "python3", "-c", script) for name in names
    ]
    return [set(json.loads(each)) for each in said]


@pytest.fixture
def asked(slipway: Installation, kubectl: Kubectl, models: str, python_image: str) -> Iterator[Traffic]:
    """Traffic for the adapter `support` at its first version; each request must be answered."""
    before = serve(kubectl, models, "--enable-lora")
    kubectl.apply(models, fine_tune(deploy=DEPLOY))
    until_so(kubectl, models, phase("Succeeded"))
    assert pods(kubectl, models) == before, "no new pods"
    assert loaded(kubectl, models) == [{"support.v1"}] * 2
    with traffic(
        kubectl, models, python_image, url=slipway.url, key="apikey-tester", model="support"
    ) as asking:
        yield asking
        counts = asking.end()
        assert asking.failures() == []
        assert counts["ok"] == counts["sent"] > 20


def by_version(counts: dict[str, Any], version: str) -> int:
    return sum(number for text, number in counts["said"].items() if version in text)


def test_a_new_version_takes_over_by_canary_and_the_old_one_goes(
    asked: Traffic, kubectl: Kubectl, models: str
) -> None:
    asked.goes_on()
    before, spec = pods(kubectl, models), kubectl.get(models, "llmservice", "m")["spec"]
    steps = [{"weight": 30, "pause": "6s"}, {"weight": 60}]
    kubectl.apply(models, fine_tune(hyperparameters={"epochs": 1}, deploy={**DEPLOY, "steps": steps}))
    until(kubectl, models, "m", lambda found: adapters(found).get("support.v2") == ("Ready", 30))
    found = kubectl.get(models, "finetune", "f")
    assert found["status"]["phase"] == "Deploying"
    share = asked.now()
    asked.until(lambda now: by_version(now, "support.v2") >= 10, "answers of the new version")
    assert by_version(asked.now(), "support.v1") > by_version(share, "support.v1")
    until(kubectl, models, "m", lambda found: adapters(found) == {"support.v2": ("Ready", 100)})
    found = until_so(kubectl, models, phase("Succeeded"))
    assert found["status"]["adapter"] == "support.v2"
    asked.goes_on()
    assert loaded(kubectl, models) == [{"support.v2"}] * 2
    assert pods(kubectl, models) == before
    assert kubectl.get(models, "llmservice", "m")["spec"] == spec, "nobody wrote the spec"


def test_engines_that_begin_anew_have_it_before_they_take_requests(
    asked: Traffic, kubectl: Kubectl, models: str
) -> None:
    before = pods(kubectl, models)
    for name in sorted(
        each["metadata"]["name"]
        for each in kubectl.get(models, "pods", "--selector=slipway.dev/service=m")["items"]
    ):
        kubectl("delete", "pod", name, f"--namespace={models}")
        until(kubectl, models, "m", lambda found: found["status"]["readyReplicas"] == 2)
        asked.goes_on()
    assert not pods(kubectl, models) & before
    assert loaded(kubectl, models) == [{"support.v1"}] * 2


def test_a_version_that_fails_is_taken_back_and_the_reason_is_plain(
    slipway: Installation, kubectl: Kubectl, models: str, python_image: str
) -> None:
    serve(kubectl, models, "--enable-lora", "--adapter-errors=support.v2")
    kubectl.apply(models, fine_tune(deploy=DEPLOY))
    until_so(kubectl, models, phase("Succeeded"))
    with traffic(
        kubectl, models, python_image, url=slipway.url, key="apikey-tester", model="support"
    ) as asking:
        asking.goes_on()
        deploy = {**DEPLOY, "steps": [{"weight": 50}]}
        kubectl.apply(models, fine_tune(hyperparameters={"epochs": 1}, deploy=deploy))
        found = until_so(kubectl, models, phase("Failed"), seconds=120)
        assert condition(found, "Ready")["reason"] == "RolledBack"
        assert "requests failed" in condition(found, "Ready")["message"]
        assert "RolledBack" in events(kubectl, models, "f")
        entries = adapters(kubectl.get(models, "llmservice", "m"))
        assert entries == {"support.v1": ("Ready", 100), "support.v2": ("RolledBack", 0)}
        # The gateways hear of it a moment after the object says so.
        until(kubectl, models, "m", lambda found: loaded(kubectl, models) == [{"support.v1"}] * 2)
        failed = asking.now()["failed"]
        asking.goes_on(60)
        assert asking.now()["failed"] == failed, "the version before answers all again"


def test_engines_without_room_for_adapters_are_told_of_with_the_mend(
    slipway: Installation, kubectl: Kubectl, models: str
) -> None:
    serve(kubectl, models, replicas=1)
    kubectl.apply(models, fine_tune(deploy=DEPLOY))
    found = until_so(
        kubectl, models, lambda item: condition(item, "Degraded").get("reason") == "LoRANotEnabled"
    )
    assert "--enable-lora" in condition(found, "Ready")["message"]
    serve(kubectl, models, "--enable-lora", replicas=1)
    until_so(kubectl, models, phase("Succeeded"))


def test_an_adapter_that_engines_refuse_is_told_in_their_words(
    slipway: Installation, kubectl: Kubectl, models: str
) -> None:
    serve(
        kubectl, models, "--enable-lora", "--refuse=LoRA rank 64 is greater than max_lora_rank 16", replicas=1
    )
    kubectl.apply(models, fine_tune(deploy=DEPLOY))
    found = until_so(
        kubectl, models, lambda item: condition(item, "Degraded").get("reason") == "AdapterRefused"
    )
    assert "rank 64" in condition(found, "Ready")["message"]


def test_a_deleted_fine_tune_leaves_nothing_in_the_cluster_and_in_engines(
    slipway: Installation, kubectl: Kubectl, models: str
) -> None:
    serve(kubectl, models, "--enable-lora")
    kubectl.apply(models, fine_tune(deploy=DEPLOY))
    until_so(kubectl, models, phase("Succeeded"))
    assert "deployment.apps/f-artifacts" in left(kubectl, models)
    kubectl("delete", "finetune", "f", f"--namespace={models}", "--cascade=foreground")
    assert left(kubectl, models) == set()
    until(kubectl, models, "m", lambda found: not adapters(found) and not any(loaded(kubectl, models)))
    found = kubectl.get(models, "llmservice", "m")
    assert "adapterRollouts" not in found["status"]


def test_progress_and_the_time_left_are_in_the_table(
    slipway: Installation, kubectl: Kubectl, models: str
) -> None:
    kubectl.apply(models, fine_tune(faults={"train": {"steps": 40, "seconds": 0.5}}))
    until_so(kubectl, models, running("train"))
    found = until_so(kubectl, models, lambda item: item["status"].get("progress", {}).get("step", 0) >= 3)
    assert found["status"]["phase"] == "Training"
    table = kubectl("get", "ft", f"--namespace={models}").splitlines()
    told = dict(zip(table[0].split(), table[1].split(), strict=False))
    done, _, total = told["STEPS"].partition("/")
    assert (int(done) >= 3, total) == (True, "40")
    assert told["ETA"].endswith("s")
    assert stage(found, "train")["message"] == "train works."
    # The one that leads is killed: another goes on, and progress with it.
    holder = kubectl.get(slipway.namespace, "lease", "slipway-operator")["spec"]["holderIdentity"]
    kubectl("delete", "pod", holder, f"--namespace={slipway.namespace}", "--force", "--grace-period=0")
    step = found["status"]["progress"]["step"]
    until_so(kubectl, models, lambda item: item["status"].get("progress", {}).get("step", 0) > step + 8)
    found = until_so(kubectl, models, phase("Succeeded"))
    assert stage(found, "train")["attempts"] == 1
