"""The CustomResourceDefinitions: what the script writes, and Kubernetes' conventions for APIs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS = {
    document["spec"]["names"]["kind"]: document
    for document in (
        yaml.safe_load(path.read_text()) for path in (ROOT / "charts/slipway/files/crds").glob("*.yaml")
    )
}
CONTROLLED = ("LLMService", "FineTune", "APIKey")
every = pytest.mark.parametrize("kind", sorted(DEFINITIONS))


def schema(kind: str) -> dict[str, Any]:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    whole: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return whole


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, each in node.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}[]")


def test_the_files_are_what_the_script_writes() -> None:
    check = [sys.executable, str(ROOT / "scripts/crds"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_a_definition_of_every_kind_twice() -> None:
    assert set(DEFINITIONS) == {"LLMService", "FineTune", "APIKey", "ModelRoute", "Owner"}
    for path in (ROOT / "charts/slipway/files/crds").glob("*.yaml"):
        assert (ROOT / "k8s/crds" / path.name).read_text() == path.read_text()


@every
def test_no_field_is_a_float(kind: str) -> None:
    assert [path for path, node in nodes(schema(kind)) if node.get("type") == "number"] == []


@every
def test_every_field_says_what_it_is(kind: str) -> None:
    silent = [
        path
        for path, node in nodes(schema(kind))
        if path and not path.endswith("[]") and path != ".metadata" and not node.get("description")
    ]
    assert silent == []


@every
def test_a_schema_is_structural(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        assert not node.keys() & {"$ref", "anyOf", "allOf", "oneOf", "const", "title", "nullable"}, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path


@every
def test_every_rule_says_the_mend(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"].count(" ") > 3, path


@pytest.mark.parametrize("kind", CONTROLLED)
def test_what_is_controlled_has_conditions_of_a_generation(kind: str) -> None:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    status = schema(kind)["properties"]["status"]
    conditions = status["properties"]["conditions"]
    assert "status" in version["subresources"]
    assert status["properties"]["observedGeneration"]["type"] == "integer"
    assert conditions["items"]["properties"]["observedGeneration"]["type"] == "integer"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert [path for path, node in nodes(status) if "default" in node] == []


@every
def test_names_that_people_type(kind: str) -> None:
    names = DEFINITIONS[kind]["spec"]["names"]
    assert names["categories"] == ["slipway"]
    assert names.get("shortNames", []) == {"LLMService": ["llm"], "FineTune": ["ft"]}.get(kind, [])


@every
def test_columns_show_fields_that_exist(kind: str) -> None:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    known = {path.replace("[]", "[*]") for path, _ in nodes(schema(kind))}
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].replace('[?(@.type=="Ready")]', "[*]")
        assert path in known | {".metadata.creationTimestamp"}, column["name"]
    shown = [column["name"] for column in version["additionalPrinterColumns"] if "priority" not in column]
    assert shown[-1] == "Age"
