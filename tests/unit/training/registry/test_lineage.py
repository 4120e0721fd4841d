import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from slipway.training.errors import RegistryError
from slipway.training.registry.lineage import Lineage, Node
from slipway.training.registry.pictures import document, picture
from slipway.training.registry.records import BaseModelRecord, EvaluationRecord
from slipway.training.registry.store import Registry
from slipway.training.runs import Outcome, Run
from slipway.training.workspaces import Workspace
from unit.training.registry import made
from unit.training.registry.test_stage import dataset


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return Registry.of(workspace)


def kinds(node: Node) -> list[str]:
    return [node.kind, *(kind for child in node.children for kind in kinds(child))]


def find(node: Node, kind: str) -> list[Node]:
    own = [node] if node.kind == kind else []
    return own + [each for child in node.children for each in find(child, kind)]


def test_from_an_adapter_to_its_sources(workspace: Workspace, registry: Registry, tmp_path: Path) -> None:
    evaluation = EvaluationRecord(metrics={"exact_match": 0.9}, report="runs/support/evaluation/report.html")
    record = made.register(registry, tmp_path, evaluation=evaluation)
    root = Lineage(workspace).of("support/v1")
    assert kinds(root) == ["version", "run", "dataset", "source", "evaluation", "base"]
    assert root.facts["digest"] == record.digest
    assert find(root, "source")[0].facts["digest"] == f"sha256:{'e' * 64}"
    assert find(root, "evaluation")[0].facts["exact_match"] == "0.9"
    assert find(root, "dataset")[0].facts["note"] == "no longer in this workspace"
    assert Lineage(workspace).of("support").document() == root.document()


def test_from_a_dataset_to_every_version_made_of_it(
    workspace: Workspace, registry: Registry, tmp_path: Path
) -> None:
    reference = dataset(workspace)
    about = made.draft().dataset
    assert about is not None
    mine = about.model_copy(update={"version": reference})
    made.register(registry, tmp_path, "one", dataset=mine)
    made.register(registry, tmp_path, "two", dataset=mine)
    made.register(registry, tmp_path, "other")
    for subject in (reference, reference[:-4], "support"):
        root = Lineage(workspace).of(subject)
        assert (root.kind, root.name) == ("dataset", reference)
        assert [each.name for each in find(root, "version")] == ["one/v1", "two/v1"]
        assert find(root, "source")[0].facts["source"].startswith("hf://org/tickets@")
    # The versions still tell of a dataset that was taken away.
    for path in sorted(workspace.datasets.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert [each.name for each in find(Lineage(workspace).of(reference), "version")] == ["one/v1", "two/v1"]


def test_a_dataset_that_changed_is_told(workspace: Workspace, registry: Registry, tmp_path: Path) -> None:
    reference = dataset(workspace)
    about = made.draft().dataset
    assert about is not None
    made.register(registry, tmp_path, dataset=about.model_copy(update={"version": reference}))
    assert (
        "what lies there now is sha256:"
        in find(Lineage(workspace).of("support/v1"), "dataset")[0].facts["note"]
    )


def test_through_parents_and_tuned_bases(workspace: Workspace, registry: Registry, tmp_path: Path) -> None:
    first = made.register(registry, tmp_path, "one")
    made.register(registry, tmp_path, "two")
    base = BaseModelRecord(source="file:///x", name="one", digest=first.digest)
    made.register(registry, tmp_path, "merged", parents=("two/v1",), base_model=base, dataset=None)
    root = Lineage(workspace).of("merged/v1")
    assert [each.name for each in find(root, "version")] == ["merged/v1", "one/v1", "two/v1"]
    assert [each.name for each in find(root, "version") if each in root.children] == ["two/v1"]


@pytest.mark.parametrize("way", ["digest", "source", "deployment", "name", "served"])
def test_from_a_request_to_what_answered_it(
    workspace: Workspace, registry: Registry, tmp_path: Path, way: str
) -> None:
    tuned = {"spec": {"deploy": {"name": "helper"}}}
    first = made.register(registry, tmp_path, seed=1, fine_tune=tuned)
    made.register(registry, tmp_path, seed=2, fine_tune=tuned)
    usage = {
        "request_id": "req-1",
        "model": "helper",
        "served_model": "helper",
        "revision": "helper.v1",
        "started_at": "2026-11-24T12:00:00Z",
    }
    served = []
    if way == "digest":
        usage["revision"] = "helper.7"
        served = [{"engineName": "helper.7", "name": "helper", "source": "s3://x/y", "digest": first.digest}]
    elif way == "source":
        usage["revision"] = "ab12cd34ef"
        served = [{"name": "helper", "source": f"registry+http://h/support/v1@{first.digest}"}]
    elif way == "deployment":
        usage["revision"] = "odd"
        run = Run(workspace.run("support"))
        run.folder.mkdir(parents=True)
        run.end(
            Outcome(
                stage="register", state="Succeeded", message="", result={"name": "support", "version": "v1"}
            )
        )
        run.end(Outcome(stage="deploy", state="Succeeded", message="", result={"engineName": "odd"}))
    elif way == "served":
        usage["revision"] = "support.v1"
    root = Lineage(workspace).of_request(usage, served)
    assert [each.name for each in find(root, "version")] == ["support/v1"]
    assert find(root, "source")


def test_a_request_that_the_base_model_answered(
    workspace: Workspace, registry: Registry, tmp_path: Path
) -> None:
    made.register(registry, tmp_path)
    usage = {"request_id": "req-1", "model": "smollm2", "served_model": "smollm2", "revision": "ab12cd34ef"}
    root = Lineage(workspace).of_request(usage)
    assert kinds(root) == ["request", "model"]


def test_says_what_there_is(workspace: Workspace, registry: Registry, tmp_path: Path) -> None:
    made.register(registry, tmp_path)
    with pytest.raises(RegistryError, match="versions of: support"):
        Lineage(workspace).of("none")
    with pytest.raises(RegistryError, match="versions of support: v1"):
        Lineage(workspace).of("support/v7")


def test_the_picture_holds_every_node_and_no_ones_code(
    workspace: Workspace, registry: Registry, tmp_path: Path
) -> None:
    evil = BaseModelRecord(source="file:///</text><script>alert(1)</script>", name="<img src=x>&")
    made.register(registry, tmp_path, base_model=evil)
    root = Lineage(workspace).of("support/v1")
    svg = ElementTree.fromstring(picture(root))
    boxes = [each for each in svg.iter() if each.tag.endswith("rect")]
    assert len(boxes) == len(kinds(root))
    assert not [each for each in svg.iter() if each.tag.endswith(("script", "img"))]
    areas = [tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height")) for box in boxes]
    for at, (x, y, width, height) in enumerate(areas):
        for u, v, _, other in areas[at + 1 :]:
            assert u >= x + width or u + width <= x or v >= y + height or v + other <= y, "two boxes overlap"
    page = document(root)
    assert "<script" not in page
    assert re.search(r"<li>base &lt;img src=x&gt;&amp;", page)
