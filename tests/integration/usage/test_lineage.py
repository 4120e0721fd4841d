"""`slipway lineage REQUEST_ID` over a real request of a real gateway."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from integration.gateway.conftest import StartUpstream
from integration.usage.conftest import StartPlace, ask
from integration.usage.conftest import place as place  # A fixture.
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.training.registry import made


async def test_an_answer_leads_to_the_data_that_its_adapter_learnt_from(
    place: StartPlace, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    for seed in range(3):
        made.register(Registry.of(workspace), tmp_path, seed=seed)
    there = place(await start_upstream())
    there.state.adapters("m", ("helper", "support.v2", 100))
    port = await asyncio.to_thread(there.start().port)
    reply = await ask(port, model="helper")
    assert reply.status == 200
    await there.recorded(1)
    command = [sys.executable, "-m", "slipway", "lineage", reply.headers["x-request-id"], "-o", "json"]
    command += [
        "--url",
        f"http://127.0.0.1:{port}",
        "--api-key",
        "sk-test",
        "--workspace",
        str(workspace.root),
    ]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"SLIPWAY_STATE": str(tmp_path / "elsewhere")},
    )
    assert done.stderr == ""
    root = json.loads(done.stdout)
    assert (root["kind"], root["facts"]["revision"]) == ("request", "support.v2")
    version = root["children"][0]
    assert version["name"] == "support/v2"
    dataset = version["children"][0]["children"][0]
    assert (dataset["kind"], dataset["name"]) == ("dataset", "support/d1")
    assert dataset["children"][0]["facts"]["digest"].startswith("sha256:")
