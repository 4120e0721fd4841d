"""`slipway registry` and `slipway lineage` as their user meets them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slipway.cli import main
from slipway.training.registry.records import EvaluationRecord
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.training.registry import made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    registry = Registry.of(workspace)
    for seed, value in enumerate((0.8, 0.9)):
        found = EvaluationRecord(
            metrics={"exact_match": value}, intervals={"exact_match": (value - 0.1, 1.0)}
        )
        made.register(
            registry, tmp_path, seed=seed, evaluation=found, hyperparameters={"loraRank": 16, "epochs": seed}
        )
    return workspace


def slipway(workspace: Workspace, *arguments: str, **environ: str) -> Result:
    environ |= {"SLIPWAY_WORKSPACE": str(workspace.root), "SLIPWAY_STATE": str(workspace.root / "state")}
    return CliRunner().invoke(main, arguments, env=environ, prog_name="slipway")


def test_lists_versions(workspace: Workspace) -> None:
    shown = slipway(workspace, "registry", "list")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.output.splitlines()]
    assert lines[0][:4] == ["VERSION", "STAGE", "KIND", "BASE"]
    assert lines[1][:5] == ["support/v1", "candidate", "adapter", "base", "support/d1"]
    assert "exact_match 0.9" in shown.output
    documents = json.loads(slipway(workspace, "registry", "list", "support", "-o", "json").output)
    assert [each["version"] for each in documents] == ["v1", "v2"]
    assert documents[0]["stage"] == "candidate"


def test_shows_the_promoted_version_and_its_card(workspace: Workspace) -> None:
    assert "support/v1 is promoted." in slipway(workspace, "registry", "promote", "support/v1").output
    shown = slipway(workspace, "registry", "show", "support")
    assert "support/v1" in shown.output
    assert "0.8  [0.7, 1]" in shown.output
    assert slipway(workspace, "registry", "show", "support", "--card").output == "# support v1, 4 files\n"
    again = slipway(workspace, "registry", "promote", "support/v2", "--note", "better")
    assert again.output == "support/v2 is promoted; v1 is retired.\n"
    assert slipway(workspace, "registry", "retire", "support/v2").output == "support/v2 is retired.\n"


def test_compares_only_what_differs(workspace: Workspace) -> None:
    shown = slipway(workspace, "registry", "compare", "support/v1", "support/v2")
    assert shown.exit_code == 0
    lines = {line.split()[0]: line for line in shown.output.splitlines()[1:]}
    assert set(lines) == {"exact_match", "hyperparameters.epochs"}
    assert lines["exact_match"].endswith("+0.1")
    everything = slipway(workspace, "registry", "compare", "support/v1", "support/v2", "--all")
    assert "hyperparameters.loraRank" in everything.output
    same = slipway(workspace, "registry", "compare", "support/v1", "support/v1")
    assert same.output == "They do not differ.\n"


def test_verifies_by_message_and_code(workspace: Workspace) -> None:
    shown = slipway(workspace, "registry", "verify")
    assert (shown.exit_code, shown.output.count("as it was registered")) == (0, 2)
    path = workspace.registry / "support" / "v2" / "tokenizer.json"
    path.unlink()
    shown = slipway(workspace, "registry", "verify", "support")
    assert shown.exit_code == 1
    assert "support/v2: tokenizer.json is missing." in shown.output


def test_copies_there_and_back(workspace: Workspace, tmp_path: Path) -> None:
    place = (tmp_path / "copies").as_uri()
    assert slipway(workspace, "registry", "push", "support/v1", place).exit_code == 0
    other = Workspace(tmp_path / "other")
    digest = Registry.of(workspace).record("support", "v1").digest
    refused = slipway(other, "registry", "pull", place, "support", "--digest", f"sha256:{'0' * 64}")
    assert refused.exit_code == 1
    assert "it is not taken" in refused.output
    assert digest in slipway(other, "registry", "pull", place, "support", "--digest", digest).output
    assert Registry.of(other).versions("support") == ["v1"]


def test_collects_only_when_told_to(workspace: Workspace, tmp_path: Path) -> None:
    assert slipway(workspace, "registry", "retire", "support/v1").exit_code == 0
    arguments = ("registry", "gc", "--keep", "1", "--older-than", "0s")
    dry = slipway(workspace, *arguments)
    assert "would go" in dry.output
    assert "Run it with --yes" in dry.output
    (tmp_path / "objects").write_text("source: s3://bucket/support/v1\n")
    kept = slipway(workspace, *arguments, "--yes", "--in-use", str(tmp_path / "objects"))
    assert "deployed" in kept.output
    assert Registry.of(workspace).versions("support") == ["v1", "v2"]
    assert "removed" in slipway(workspace, *arguments, "--yes").output
    assert Registry.of(workspace).versions("support") == ["v2"]
    assert slipway(workspace, "registry", "gc", "--older-than", "soon").exit_code == 2


def test_what_goes_wrong_is_a_sentence(workspace: Workspace) -> None:
    for arguments in (
        ("show", "none"),
        ("show", "support/v9"),
        ("promote", "../x/v1"),
        ("push", "support", "x"),
    ):
        shown = slipway(workspace, "registry", *arguments)
        assert shown.exit_code == 1
        assert shown.output.startswith("Error: ")
        assert "Traceback" not in shown.output


def test_lineage_is_a_tree(workspace: Workspace, tmp_path: Path) -> None:
    shown = slipway(workspace, "lineage", "support/v1", "--html", str(tmp_path / "page.html"))
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("version support/v1")
    assert lines[1].startswith("└─ run support")
    assert any(line.startswith("   │  └─ source mine") for line in lines)
    assert "<svg" in (tmp_path / "page.html").read_text()
    told = json.loads(slipway(workspace, "lineage", "support/v1", "-o", "json").output)
    assert told["children"][0]["kind"] == "run"
    assert slipway(workspace, "lineage", "support/d1").output.count("version support/v") == 2


@pytest.fixture
def usage() -> Iterator[str]:
    """A gateway that knows one request; tests/integration/usage/test_lineage.py asks a real one."""
    record: dict[str, Any] = {
        "request_id": "req-0123456789abcdef01234567",
        "model": "support",
        "served_model": "support",
        "service": "base",
        "revision": "support.v2",
        "started_at": "2026-11-24T12:00:00Z",
        "earlier": [],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(record).encode()
            self.send_response(200 if self.path == f"/v1/requests/{record['request_id']}" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_lineage_of_a_request_asks_the_gateway(workspace: Workspace, usage: str) -> None:
    shown = slipway(workspace, "lineage", "req-0123456789abcdef01234567", "--url", usage)
    lines = shown.output.splitlines()
    assert lines[0].startswith("request req-0123456789abcdef01234567")
    assert lines[1].startswith("└─ version support/v2")
    assert slipway(workspace, "lineage", "mine", "--request", "--url", usage).exit_code == 1
