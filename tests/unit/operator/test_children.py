"""What surrounds the pods: who finds them, who may reach them, what goes with the service."""

from itertools import product
from typing import Any

import pytest

from slipway.kube.kinds import DEPLOYMENT, LEADER_WORKER_SET, NETWORK_POLICY, SERVICE
from slipway_operator import names
from slipway_operator.children import fetch_job, revision_children, shared_children
from slipway_operator.children import parsed as labels_in
from slipway_operator.executor import kind_of
from slipway_operator.pods import PORT
from unit.operator.network_policies import Endpoint, lets_in, selects
from unit.operator.written import NAMESPACE, SETTINGS, llm_service, parsed

NODES = {"device": "gpu", "tensorParallel": 8, "pipelineParallel": 2}
GATEWAY = Endpoint("slipway-system", {**labels_in(SETTINGS.gateway_selector), "pod-template-hash": "x"})
OPERATOR = Endpoint("slipway-system", labels_in(SETTINGS.operator_selector))


def made(**spec: Any) -> list[dict[str, Any]]:
    parent = llm_service(**spec)
    service = parsed(parent)
    return [
        *shared_children(service, SETTINGS, parent, frozenset()),
        *revision_children(service, "abc", 2, SETTINGS, parent),
    ]


def of(kind: Any, manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in manifests if kind_of(each) == kind}


def group(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = of(LEADER_WORKER_SET, made(engine=NODES, **spec))["m-abc"]["spec"]
    return found


@pytest.mark.parametrize("spec", [{}, {"cache": {"storageClass": "fast"}}, {"engine": NODES}])
def test_every_child_is_the_services_and_goes_with_it(spec: dict[str, Any]) -> None:
    for manifest in made(**spec):
        metadata = manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("uid-m", True, True)
        assert metadata["namespace"] == NAMESPACE
        assert metadata["labels"][names.MANAGED_BY] == names.MANAGER


def test_a_deployment_selects_its_own_pods_and_gateways_read_one_slice_of_them() -> None:
    manifests = made()
    deployment = of(DEPLOYMENT, manifests)["m-abc"]["spec"]
    pods = deployment["template"]["metadata"]["labels"]
    assert deployment["replicas"] == 2
    assert selects(deployment["selector"], pods)
    selecting = [
        each for each in of(SERVICE, manifests).values() if each["spec"]["selector"].items() <= pods.items()
    ]
    assert {each["metadata"]["name"] for each in selecting} == {"m", "m-abc"}
    # Slices carry their Service's labels; gateways look for this one.
    (seen,) = (each for each in selecting if names.SERVICE in each["metadata"]["labels"])
    assert seen["metadata"]["labels"][names.REVISION] == "abc"
    assert seen["spec"]["clusterIP"] == "None"
    (port,) = seen["spec"]["ports"]
    (own,) = deployment["template"]["spec"]["containers"][0]["ports"]
    assert (port["port"], port["targetPort"]) == (own["containerPort"], own["name"])


def test_a_model_over_nodes_has_a_leader_that_serves_and_workers_that_gateways_never_see() -> None:
    spec = group()
    template = spec["leaderWorkerTemplate"]
    assert (spec["replicas"], template["size"]) == (2, 2)
    leader, worker = template["leaderTemplate"], template["workerTemplate"]
    services = [each["spec"]["selector"] for each in of(SERVICE, made(engine=NODES)).values()]
    for selector in services:
        assert selector.items() <= leader["metadata"]["labels"].items()
        assert not selector.items() <= worker["metadata"]["labels"].items()
    for each in (leader, worker):
        (container,) = each["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert "readinessProbe" in leader["spec"]["containers"][0]
    assert (
        not {"readinessProbe", "startupProbe", "livenessProbe", "ports"}
        & worker["spec"]["containers"][0].keys()
    )


def test_nodes_of_a_replica_are_told_their_leader_and_their_number() -> None:
    for args in ([], ["--max-num-seqs", "4"]):
        template = group()["leaderWorkerTemplate"] if not args else of(
            LEADER_WORKER_SET, made(engine={**NODES, "args": args})
        )["m-abc"]["spec"]["leaderWorkerTemplate"]  # fmt: skip
        for role, ends in (("leader", False), ("worker", True)):
            arguments = template[f"{role}Template"]["spec"]["containers"][0]["args"]
            assert arguments.count("--") == 1
            own = arguments[arguments.index("--") + 1 :]
            assert own[: len(args)] == args
            assert own[own.index("--nnodes") + 1] == "2"
            assert own[own.index("--master-addr") + 1] == "$(LWS_LEADER_ADDRESS)"
            assert ("--headless" in own) is ends


@pytest.mark.parametrize("spec", [{}, {"engine": NODES}], ids=["one node", "nodes"])
def test_gateways_and_operators_reach_engines_and_nobody_else_does(spec: dict[str, Any]) -> None:
    policies = list(of(NETWORK_POLICY, made(**spec)).values())
    engine = Endpoint(NAMESPACE, names.labels("m", "abc"))
    assert lets_in(policies, GATEWAY, engine, PORT)
    assert lets_in(policies, OPERATOR, engine, PORT)
    strangers = [
        Endpoint("other", GATEWAY.labels),
        Endpoint(NAMESPACE, GATEWAY.labels),
        Endpoint("slipway-system", {"app": "else"}),
        Endpoint(NAMESPACE, {"app": "else"}),
        Endpoint(NAMESPACE, names.labels("other", "abc")),
        Endpoint("other", names.labels("m", "abc")),
    ]
    for stranger, port in product(strangers, (PORT, 29500)):
        assert not lets_in(policies, stranger, engine, port), stranger
    assert not lets_in(policies, GATEWAY, engine, 22)


def test_nodes_of_a_model_reach_each_other_at_any_port_and_workers_are_reached_by_nobody_else() -> None:
    policies = list(of(NETWORK_POLICY, made(engine=NODES)).values())
    template = group()["leaderWorkerTemplate"]
    leader, worker = (
        Endpoint(NAMESPACE, template[f"{role}Template"]["metadata"]["labels"])
        for role in ("leader", "worker")
    )
    for source, target in product((leader, worker), (leader, worker)):
        assert lets_in(policies, source, target, 29500)
    for stranger in (GATEWAY, OPERATOR, Endpoint(NAMESPACE, {}), Endpoint("other", worker.labels)):
        assert not lets_in(policies, stranger, worker, 29500)


def test_policies_touch_no_pod_of_others() -> None:
    other = Endpoint(NAMESPACE, {"app": "else"})
    assert lets_in(list(of(NETWORK_POLICY, made(engine=NODES)).values()), Endpoint("x", {}), other, 80)


def test_a_shared_cache_has_a_claim_and_a_job_whose_name_follows_its_template() -> None:
    def job(**spec: Any) -> Any:
        parent = llm_service(**spec)
        return fetch_job(parsed(parent), SETTINGS, parent)

    assert job() is None
    cache = {"storageClass": "fast", "size": "10Gi"}
    first = job(cache=cache)
    assert first == job(cache=cache, replicas=3)
    assert (
        first["metadata"]["name"] != job(cache=cache, model={"source": "hf://org/other"})["metadata"]["name"]
    )
    claim = next(each for each in made(cache=cache) if each["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    (volume,) = (v for v in first["spec"]["template"]["spec"]["volumes"] if v["name"] == "models")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_optional_kinds_are_made_where_the_cluster_has_them() -> None:
    parent = llm_service()
    with_monitors = shared_children(parsed(parent), SETTINGS, parent, frozenset({"podmonitors"}))
    assert {each["kind"] for each in with_monitors} - {each["kind"] for each in made()} == {"PodMonitor"}
