"""What the chart makes: pods that are restricted, labels that meet, rights that suffice and no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.helm import CHART, CI, Helm
from integration.chart.objects import Object, container, environment, named, of_kind, pod_of, pods
from slipway.kube.kinds import (
    API_KEY,
    ENDPOINT_SLICE,
    EVENT,
    FINE_TUNE,
    LEASE,
    LLM_SERVICE,
    MODEL_ROUTE,
    OWNER,
    POD,
    Kind,
)
from slipway_operator import pods as engine_pods
from slipway_operator.executor import CHILD_KINDS

READ = frozenset({"get", "list", "watch"})
Rights = set[tuple[str, str, str]]
"""(API group, resource, verb)"""
each_set_of_values = pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)


def everything() -> Iterator[Path]:
    yield from sorted((CHART / "templates").rglob("*.yaml"))


def test_files_are_named_after_component_and_kind() -> None:
    components = {"gateway", "operator", "engine", "redis", "monitoring", "people"}
    for path in everything():
        if path.name == "crds.yaml":
            continue
        component, _, kind = path.stem.partition("-")
        assert component in components, path
        assert f"kind: {kind}" in path.read_text().lower() or kind.endswith("role"), path


# --- pods ----------------------------------------------------------------------------------------


@each_set_of_values
def test_every_pod_is_restricted_and_writes_nothing_but_its_volumes(helm: Helm, values: Path) -> None:
    for name, pod in pods(helm.render("--values", values)):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & set(pod), (
            name
        )
        kinds = (
            {next(kind for kind in volume if kind != "name") for volume in pod["volumes"]}
            if "volumes" in pod
            else set()
        )
        assert kinds <= {"emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"}, name
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            security = one["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert not {"privileged", "procMount", "runAsUser"} & set(security), name
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in one["resources"]["limits"], name
            mounted = {mount["name"] for mount in one.get("volumeMounts", [])}
            assert mounted == {volume["name"] for volume in pod.get("volumes", [])}, name


@each_set_of_values
def test_no_service_of_the_namespace_gets_into_an_environment(helm: Helm, values: Path) -> None:
    """A Service called slipway-gateway would set SLIPWAY_GATEWAY_PORT to tcp://…, and no gateway start."""
    for name, pod in pods(helm.render("--values", values)):
        assert pod["enableServiceLinks"] is False, name


@each_set_of_values
def test_only_gateway_and_operator_may_speak_to_the_api_server(helm: Helm, values: Path) -> None:
    rendered = helm.render("--values", values)
    may = {name for name, pod in pods(rendered) if pod["automountServiceAccountToken"]}
    assert may == {"slipway-gateway", "slipway-operator"}
    for account in of_kind(rendered, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@each_set_of_values
def test_a_gateway_is_not_killed_before_it_has_drained(helm: Helm, values: Path) -> None:
    deployment = named(helm.render("--values", values), "Deployment", "slipway-gateway")
    given = environment(container(deployment))
    drain = float(given["SLIPWAY_GATEWAY_DRAIN_DELAY"]) + float(given["SLIPWAY_GATEWAY_DRAIN_TIMEOUT"])
    assert float(given["SLIPWAY_GATEWAY_DRAIN_DELAY"]) >= 5
    assert pod_of(deployment)["terminationGracePeriodSeconds"] >= drain + 10
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    assert container(deployment)["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container(deployment)["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_gateways_that_share_a_volume_share_a_node_and_others_are_spread(helm: Helm) -> None:
    def gateway(*arguments: str | Path) -> Object:
        return pod_of(named(helm.render(*arguments), "Deployment", "slipway-gateway"))

    alone = gateway("--values", CHART / "ci/one-namespace-values.yaml")
    terms = alone["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["topologyKey"] for term in terms] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert terms[1]["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert "topologySpreadConstraints" not in alone
    several = gateway("--set", "gateway.replicas=2,database.existingSecret.name=a")
    assert "affinity" not in several
    assert len(several["topologySpreadConstraints"]) == 2
    state = [volume for volume in several["volumes"] if volume["name"] == "state"]
    assert state == [{"name": "state", "emptyDir": {"sizeLimit": "4Gi"}}]


def test_what_was_set_is_not_set_again_by_the_autoscaler(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    assert "replicas" not in named(rendered, "Deployment", "slipway-gateway")["spec"]
    [scaler] = of_kind(rendered, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "slipway-gateway"


def test_a_change_of_settings_replaces_pods_and_nothing_else_does(helm: Helm) -> None:
    def templates(*arguments: str) -> dict[str, Any]:
        rendered = helm.render("--set", "redis.mode=embedded,database.ephemeral=true", *arguments)
        return {
            each["metadata"]["name"]: each["spec"]["template"] for each in of_kind(rendered, "Deployment")
        }

    before = templates()
    assert templates() == before
    for given, changed in (
        ("gateway.settings.max_body=16777216", "slipway-gateway"),
        ("operator.settings.workers=9", "slipway-operator"),
        ("redis.embedded.maxMemory=100mb", "slipway-redis"),
    ):
        after = templates("--set", given)
        assert {name for name in before if after[name] != before[name]} == {changed}


# --- labels --------------------------------------------------------------------------------------


@each_set_of_values
def test_labels_and_selectors_meet(helm: Helm, values: Path) -> None:
    rendered = helm.render("--values", values)
    labels = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in of_kind(rendered, "Deployment")
    }
    for item in rendered:
        own = item["metadata"]["labels"]
        assert own["app.kubernetes.io/part-of"] == "slipway", item["metadata"]
        assert item["metadata"].get("namespace") or item["kind"].startswith(("Cluster", "Custom"))
    for item in of_kind(
        rendered, "Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service", "PodMonitor"
    ):
        spec, name = item["spec"], item["metadata"]["name"]
        selector = spec.get("podSelector") or spec["selector"]
        wanted = selector.get("matchLabels", selector)
        selected = {pod for pod, given in labels.items() if wanted.items() <= given.items()}
        assert selected == {name}, (item["kind"], name)
    for monitor in of_kind(rendered, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [
            each for each in of_kind(rendered, "Service") if wanted <= each["metadata"]["labels"].items()
        ]
        assert [each["metadata"]["name"] for each in found] == ["slipway-gateway"]
        ports = {port["name"] for port in found[0]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_two_releases_have_nothing_in_common_but_the_objects_definitions(helm: Helm) -> None:
    def identities(release: str) -> set[tuple[str, str]]:
        rendered = helm.render("--set", "redis.mode=embedded", release=release)
        return {(each["kind"], each["metadata"]["name"]) for each in rendered}

    shared = identities("one") & identities("two")
    assert {kind for kind, _ in shared} == {"CustomResourceDefinition"}


# --- rights --------------------------------------------------------------------------------------


def rights(rendered: list[Object], account: str) -> Rights:
    """What a ServiceAccount may do, from its bindings."""
    found: Rights = set()
    for binding in of_kind(rendered, "RoleBinding", "ClusterRoleBinding"):
        if account in [subject["name"] for subject in binding["subjects"]]:
            role = named(rendered, binding["roleRef"]["kind"], binding["roleRef"]["name"])
            for rule in role["rules"]:
                assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
                found |= {
                    (group, resource, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def right(kind: Kind, verbs: set[str] | frozenset[str], part: str = "") -> Rights:
    return {(kind.group, kind.plural + part, verb) for verb in verbs}


@pytest.mark.parametrize("namespace", ["", "models"])
def test_gateways_may_read_what_they_serve_by_and_nothing_else(helm: Helm, namespace: str) -> None:
    rendered = helm.render("--set", f"watchNamespace={namespace}")
    wanted = set[tuple[str, str, str]]().union(
        *(right(kind, READ) for kind in (API_KEY, ENDPOINT_SLICE, LLM_SERVICE, MODEL_ROUTE, OWNER))
    )
    assert rights(rendered, "slipway-gateway") == wanted


def test_gateways_make_fine_tunes_only_where_they_are_told_to(helm: Helm) -> None:
    rendered = helm.render("--set", "gateway.fineTuning.namespace=tuning")
    assert of_kind(helm.render(), "Role") == [
        role for role in of_kind(rendered, "Role") if role["metadata"]["namespace"] != "tuning"
    ]
    [role] = [role for role in of_kind(rendered, "Role") if role["metadata"]["namespace"] == "tuning"]
    [binding] = [
        each for each in of_kind(rendered, "RoleBinding") if each["metadata"]["namespace"] == "tuning"
    ]
    [rule] = role["rules"]
    assert (rule["resources"], set(rule["verbs"])) == (["finetunes"], {"get", "create", "patch", "delete"})
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["slipway-gateway"]
    told = environment(container(named(rendered, "Deployment", "slipway-gateway")))
    service = named(rendered, "Service", "slipway-gateway")
    address = (
        f"http://slipway-gateway.{service['metadata']['namespace']}:{service['spec']['ports'][0]['port']}"
    )
    assert told["SLIPWAY_GATEWAY_FINE_TUNING_NAMESPACE"] == "tuning"
    assert told["SLIPWAY_GATEWAY_FINE_TUNING_ADDRESS"] == address


@pytest.mark.parametrize("namespace", ["", "models"])
def test_the_operator_may_do_what_it_does_and_nothing_else(helm: Helm, namespace: str) -> None:
    rendered = helm.render("--set", f"watchNamespace={namespace}")
    wanted = right(EVENT, {"create"}) | right(LEASE, {"create", "get", "update"})
    wanted |= right(POD, READ) | right(ENDPOINT_SLICE, READ)
    for kind in (API_KEY, FINE_TUNE, LLM_SERVICE):
        wanted |= (
            right(kind, READ) | right(kind, {"patch"}, "/status") | right(kind, {"update"}, "/finalizers")
        )
    for kind in CHILD_KINDS:
        wanted |= right(kind, READ | {"create", "patch", "delete"})
    assert rights(rendered, "slipway-operator") == wanted


def test_one_namespace_needs_no_right_in_the_whole_cluster(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/one-namespace-values.yaml")
    assert of_kind(rendered, "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition") == []
    assert {role["metadata"]["namespace"] for role in of_kind(rendered, "Role")} == {
        "models",
        "slipway-system",
    }


def test_who_may_edit_a_namespace_makes_no_keys(helm: Helm) -> None:
    for role in of_kind(helm.render(), "ClusterRole"):
        aggregated = any("aggregate-to" in label for label in role["metadata"]["labels"])
        resources = {resource for rule in role["rules"] for resource in rule["resources"]}
        assert not (aggregated and resources & {"apikeys", "owners", "secrets"})


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "secret"),
    [("engines.device=cpu", "slipway-engine-key"), ("engineKey.existingSecret.name=mine", "mine")],
)
def test_gateway_and_operator_read_the_engines_key_where_they_look_for_it(
    helm: Helm, values: str, secret: str
) -> None:
    rendered = helm.render("--set", values)
    made = {each["metadata"]["name"]: set(each["data"]) for each in of_kind(rendered, "Secret")}
    assert made == ({} if secret == "mine" else {secret: {"engine-key"}})
    for component in ("gateway", "operator"):
        deployment = named(rendered, "Deployment", f"slipway-{component}")
        [mount] = [each for each in container(deployment)["volumeMounts"] if each["name"] == "engine-key"]
        [volume] = [each for each in pod_of(deployment)["volumes"] if each["name"] == "engine-key"]
        assert volume["secret"]["secretName"] == secret
        [item] = volume["secret"]["items"]
        assert item["key"] == "engine-key"
        file = environment(container(deployment))[f"SLIPWAY_{component.upper()}_ENGINE_KEY_FILE"]
        assert file == f"{mount['mountPath']}/{item['path']}"


@pytest.mark.parametrize("name", ["", "mine"])
def test_the_operator_copies_the_key_under_the_name_that_it_has_here(helm: Helm, name: str) -> None:
    """In its own namespace it makes no copy: engines there read the chart's Secret."""
    rendered = helm.render("--set", f"engineKey.existingSecret.name={name}", release="prod")
    operator = named(rendered, "Deployment", "prod-slipway-operator")
    [volume] = [each for each in pod_of(operator)["volumes"] if each["name"] == "engine-key"]
    copied = environment(container(operator))["SLIPWAY_OPERATOR_ENGINE_KEY_SECRET"]
    assert copied == volume["secret"]["secretName"] == (name or "prod-slipway-engine-key")


def test_nothing_secret_is_written_into_a_deployment(helm: Helm) -> None:
    rendered = helm.render("--set", "redis.mode=embedded,database.existingSecret.name=db")
    secret = named(rendered, "Secret", "slipway-redis")["stringData"]
    assert secret["url"] == f"redis://:{secret['password']}@slipway-redis.slipway-system.svc:6379/0"
    assert secret["password"] not in yaml.safe_dump([each for each in rendered if each["kind"] != "Secret"])
    given = environment(container(named(rendered, "Deployment", "slipway-gateway")))
    assert given["SLIPWAY_GATEWAY_LIMITS_REDIS_URL"] == {
        "secretKeyRef": {"name": "slipway-redis", "key": "url"}
    }
    assert given["SLIPWAY_GATEWAY_DATABASE_URL"] == {"secretKeyRef": {"name": "db", "key": "url"}}


# --- ways in and out -----------------------------------------------------------------------------


def test_policies_let_through_what_listens(helm: Helm) -> None:
    rendered = helm.render("--set", "redis.mode=embedded")
    for policy in of_kind(rendered, "NetworkPolicy"):
        name = policy["metadata"]["name"]
        ports = {port["containerPort"] for port in container(named(rendered, "Deployment", name))["ports"]}
        let = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert let == ports, name
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    for name in ("slipway-gateway", "slipway-operator"):
        rules = named(rendered, "NetworkPolicy", name)["spec"]["egress"]
        [engines] = [rule for rule in rules if {"protocol": "TCP", "port": engine_pods.PORT} in rule["ports"]]
        assert engines["to"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "slipway-engine"}
        assert any({"protocol": "UDP", "port": 53} in rule["ports"] for rule in rules)


def test_chosen_peers_alone_reach_the_gateways_beside_the_operators(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    [rule] = named(rendered, "NetworkPolicy", "slipway-gateway")["spec"]["ingress"]
    own = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"][1:]]
    assert "ingress-nginx" in str(rule["from"][0])
    assert own == ["operator", "test"]


def test_streams_outlive_the_ways_in(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    [ingress] = of_kind(rendered, "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 600
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    [certificate] = of_kind(rendered, "Certificate")
    assert ingress["spec"]["tls"] == [
        {"secretName": certificate["spec"]["secretName"], "hosts": certificate["spec"]["dnsNames"]}
    ]
    [route] = of_kind(helm.render("--values", CHART / "ci/one-namespace-values.yaml"), "HTTPRoute")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "2h", "backendRequest": "2h"}


# --- monitoring ----------------------------------------------------------------------------------


def test_every_alert_leads_to_its_section_of_the_runbooks(helm: Helm) -> None:
    page = (CHART.parents[1] / "docs/runbooks.md").read_text()
    sections = {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")}
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    [made] = of_kind(rendered, "PrometheusRule")
    rules = [rule for group in made["spec"]["groups"] for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == sections
    for rule in rules:
        assert rule["annotations"].pop("runbook_url").endswith(f"/runbooks.md#{rule['alert'].lower()}")
    assert made["spec"] == yaml.safe_load((CHART / "alerts/slipway.yaml").read_text())


def test_dashboards_arrive_as_they_are(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    maps = [each for each in of_kind(rendered, "ConfigMap") if "dashboard" in each["metadata"]["name"]]
    found = {name: text for each in maps for name, text in each["data"].items()}
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert {name: text.strip() for name, text in found.items()} == {
        f"slipway-{file.name}": file.read_text().strip() for file in files
    }
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in maps)


def test_the_job_names_are_those_that_alerts_look_for(helm: Helm) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml", release="prod")
    [monitor] = of_kind(rendered, "ServiceMonitor")
    [relabeling] = monitor["spec"]["endpoints"][0]["relabelings"]
    assert relabeling == {"targetLabel": "job", "replacement": "slipway-gateway"}


# --- the objects' definitions --------------------------------------------------------------------


def test_definitions_are_rendered_whole_and_kept(helm: Helm) -> None:
    rendered = {each["metadata"]["name"]: each for each in of_kind(helm.render(), "CustomResourceDefinition")}
    files = [yaml.safe_load(file.read_text()) for file in (CHART / "files/crds").glob("*.yaml")]
    assert {name: each["spec"] for name, each in rendered.items()} == {
        each["metadata"]["name"]: each["spec"] for each in files
    }
    assert all(
        each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in rendered.values()
    )
    dropped = of_kind(helm.render("--set", "crds.keep=false"), "CustomResourceDefinition")
    assert not any("annotations" in each["metadata"] for each in dropped)
