"""The chart's values: what is taken, what is refused and how, what they lead to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.helm import CHART, CI, Helm, HelmError
from integration.chart.objects import container, environment, named, of_kind
from slipway.gateway.settings import GatewaySettings
from slipway_operator.settings import OperatorSettings

ROOT = Path(__file__).parents[3]


def test_schema_and_readme_are_what_the_script_writes() -> None:
    check = [sys.executable, str(ROOT / "scripts/chart-schema"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_helm_finds_nothing_wrong_with_the_chart(helm: Helm, values: Path) -> None:
    helm("lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gateway.replica=2", "additional properties 'replica' not allowed"),
        ("redis.embeded.maxMemory=1gb", "additional properties 'embeded' not allowed"),
        ("redis.mode=sentinel", "'none', 'embedded', 'external'"),
        ("operator.replicas=many", "got string, want integer"),
        ("gateway.settings.max_bodi=1", "additional properties 'max_bodi' not allowed"),
        ("gateway.settings.max_body=10", "minimum: got 10, want 1,024"),
        ("gateway.settings.port=80", "additional properties 'port' not allowed"),
        ("operator.settings.engine_image_gpu=x", "additional properties 'engine_image_gpu' not allowed"),
        ("httpRoute.timeout=forever", "does not match pattern"),
    ],
)
def test_what_is_no_value_is_refused_by_name(helm: Helm, given: str, said: str) -> None:
    with pytest.raises(HelmError, match=said):
        helm.render("--set", given)


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ("gateway.replicas=2", "database.existingSecret.name"),
        ("gateway.autoscaling.enabled=true", "database.existingSecret.name"),
        ("gateway.persistence.enabled=false", "set database.ephemeral to true"),
        ("database.ephemeral=true,database.existingSecret.name=x", "set one of them"),
        ("redis.mode=external", "redis.external.existingSecret.name"),
        ("ingress.enabled=true", "ingress.hosts"),
        ("httpRoute.enabled=true", "httpRoute.parentRefs"),
        ("tls.certManager.enabled=true,ingress.hosts={a}", "tls.certManager.issuer.name"),
        (
            "tls.certManager.enabled=true,tls.certManager.issuer.name=a",
            "ingress.hosts or httpRoute.hostnames",
        ),
        ("gateway.serviceAccount.create=false", "gateway.serviceAccount.name"),
        (
            "database.ephemeral=true,gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=20",
            "raise maxReplicas",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_mend(helm: Helm, given: str, mend: str) -> None:
    with pytest.raises(HelmError, match=mend):
        helm.render("--set", given)


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_every_setting_in_the_environment_is_one_that_the_program_has(helm: Helm, values: Path) -> None:
    rendered = helm.render("--values", values)
    for component, settings, prefix in (
        ("gateway", GatewaySettings, "SLIPWAY_GATEWAY_"),
        ("operator", OperatorSettings, "SLIPWAY_OPERATOR_"),
    ):
        given = environment(container(named(rendered, "Deployment", f"slipway-{component}")))
        own = {name for name in given if name.startswith("SLIPWAY_")}
        assert own == {f"{prefix}{name.upper()}" for name in settings.model_fields} & own, component
        assert len(own) > 5


def test_settings_arrive_as_they_were_meant(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "max_body": 16_777_216,
        "usage_journal_max": 4_294_967_296,
        "trace_share": 0.01,
        "usage": False,
        "oidc_issuer": "https://login.example.com",
        "oidc_scopes": ["openid", "email", "profile"],
    }
    rendered = helm.render("--set-json", f"gateway.settings={json.dumps(settings)}")
    for name, value in environment(container(named(rendered, "Deployment", "slipway-gateway"))).items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    read = GatewaySettings().model_dump(mode="json", include=set(settings))
    assert read == settings


def test_the_operator_takes_its_settings(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = helm.render("--values", CHART / "ci/production-values.yaml")
    for name, value in environment(container(named(rendered, "Deployment", "slipway-operator"))).items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    settings = OperatorSettings()
    assert settings.workers == 16
    assert settings.image_pull_secrets == ("registry",)
    assert settings.engine_image_gpu.startswith("registry.example.com/slipway/slipway-engine-gpu:")
    [service] = [
        each for each in of_kind(rendered, "Service") if each["metadata"]["name"] == settings.gateway_service
    ]
    pairs = dict(pair.split("=") for pair in settings.gateway_selector.split(","))
    assert pairs == service["spec"]["selector"]


def test_images_come_from_one_registry_with_one_tag(helm: Helm) -> None:
    values = ("--set", "global.imageRegistry=r.example.com/a,global.imageTag=v9,gateway.image.tag=v8")
    rendered = helm.render(*values, "--set", "redis.mode=embedded")
    images: dict[str, Any] = {
        each["metadata"]["name"]: container(each)["image"] for each in of_kind(rendered, "Deployment")
    }
    assert images == {
        "slipway-gateway": "r.example.com/a/slipway-gateway:v8",
        "slipway-operator": "r.example.com/a/slipway-gateway:v8",
        "slipway-redis": "r.example.com/a/redis:7.4",
    }
    given = environment(container(named(rendered, "Deployment", "slipway-operator")))
    assert given["SLIPWAY_OPERATOR_ENGINE_IMAGE_CPU"] == "r.example.com/a/slipway-engine-cpu:v9"


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'\nversion = "{chart["appVersion"]}"\n' in (ROOT / "pyproject.toml").read_text()
    described = {each["name"] for each in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    there = {
        yaml.safe_load(file.read_text())["metadata"]["name"] for file in (CHART / "files/crds").glob("*")
    }
    assert described == there
