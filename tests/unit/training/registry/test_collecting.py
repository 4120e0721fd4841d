import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.training.errors import RegistryError
from slipway.training.registry import stages
from slipway.training.registry.collecting import Named, Policy, collect, in_use
from slipway.training.registry.records import BaseModelRecord
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.training.registry import made

LATER = datetime.now(UTC) + timedelta(days=30)
POLICY = Policy(keep=1)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.of(Workspace(tmp_path / "workspace"))


def goes(registry: Registry, named: Named = Named(), *, dry: bool = True, now: datetime = LATER) -> set[str]:  # noqa: B008 - it never changes
    verdicts = collect(registry, lambda: named, POLICY, dry=dry, now=now)
    return {each.record.reference for each in verdicts if each.goes}


def test_retired_and_old_candidates_may_go(registry: Registry, tmp_path: Path) -> None:
    for seed in range(4):
        made.register(registry, tmp_path, seed=seed)
    registry.promote("support", "v2")
    registry.retire("support", "v3")
    assert goes(registry) == {"support/v1", "support/v3"}
    # Looking removes nothing.
    assert registry.versions("support") == ["v1", "v2", "v3", "v4"]


def test_what_stands_so_for_a_short_time_stays(registry: Registry, tmp_path: Path) -> None:
    for seed in range(2):
        made.register(registry, tmp_path, seed=seed)
    assert goes(registry, now=datetime.now(UTC)) == set()
    assert goes(registry, now=datetime.now(UTC) + timedelta(hours=25)) == {"support/v1"}


def test_removal_takes_the_files_and_never_gives_the_number_again(registry: Registry, tmp_path: Path) -> None:
    for seed in range(3):
        made.register(registry, tmp_path, seed=seed)
    registry.promote("support", "v2")
    registry.retire("support", "v3")
    assert goes(registry, dry=False) == {"support/v1"}
    assert registry.versions("support") == ["v2", "v3"]
    assert not list((registry.root / ".scratch").iterdir())
    collect(registry, Named, Policy(keep=0), dry=False, now=LATER)
    assert registry.versions("support") == ["v2"]
    assert made.register(registry, tmp_path, seed=9).version == "v4"


def test_what_is_deployed_stays(registry: Registry, tmp_path: Path) -> None:
    digests = [made.register(registry, tmp_path, seed=seed).digest for seed in range(8)]
    state, runs = tmp_path / "state", tmp_path / "workspace" / "runs"
    folder = registry.folder("support", "v1").as_uri()
    models.write(
        state,
        {
            "objects/llmservice-a.yaml": f"spec: {{adapters: [{{name: x, source: '{folder}'}}]}}".encode(),
            "objects/llmservice-b.yaml": b"source: registry+http://host:9092/support/v2\n",
            "status.json": f'{{"digest": "{digests[2]}"}}'.encode(),
            "adapters.json": f'{{"base": [{{"source": "s3://x", "digest": "{digests[5]}"}}]}}'.encode(),
        },
    )
    models.write(runs, {"support/register.json": b'{"result": {"uri": "s3://bucket/p/support/v4"}}'})
    more = [f"source: registry+https://h/support/v5@{digests[4]}\n"]
    named = in_use([state], runs, more)
    assert goes(registry, named) == {"support/v7"}


def test_a_longer_number_is_another_version(registry: Registry, tmp_path: Path) -> None:
    for seed in range(2):
        made.register(registry, tmp_path, seed=seed)
    assert goes(registry, Named.in_texts(["x/support/v12 support/v1a other-support/v1"])) == {"support/v1"}
    assert goes(registry, Named.in_texts(["s3://b/support/v1"])) == set()


def test_what_a_kept_version_was_made_of_stays(registry: Registry, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        for seed in range(2):
            made.register(registry, tmp_path, name, seed)
    base = registry.record("three", "v1")
    tuned = BaseModelRecord(source="file:///elsewhere", name="three", digest=base.digest)
    made.register(registry, tmp_path, "merged", parents=("one/v1",), base_model=tuned)
    assert goes(registry) == {"two/v1"}
    # A version that goes itself keeps nothing.
    made.register(registry, tmp_path, "merged", seed=5)
    assert goes(registry) == {"one/v1", "two/v1", "three/v1", "merged/v1"}


def test_nothing_goes_if_what_is_in_use_cannot_be_read(registry: Registry, tmp_path: Path) -> None:
    for seed in range(2):
        made.register(registry, tmp_path, seed=seed)
    models.write(tmp_path / "state", {"objects/llmservice-a.yaml": b"\xff\xfe\xff"})
    with pytest.raises(RegistryError, match="nothing was removed"):
        collect(
            registry, lambda: in_use([tmp_path / "state"], tmp_path / "runs"), POLICY, dry=False, now=LATER
        )
    assert registry.versions("support") == ["v1", "v2"]


def test_what_is_promoted_or_deployed_between_look_and_removal_stays(
    registry: Registry, tmp_path: Path
) -> None:
    for seed in range(4):
        made.register(registry, tmp_path, seed=seed)
    asked = 0

    def named() -> Named:
        nonlocal asked
        asked += 1
        if asked == 2:  # The first version is about to be removed, and the registry is held.
            return Named.in_texts(["support/v1"])
        return Named.in_texts(["support/v1", "support/v2"] if asked > 2 else [])

    verdicts = collect(registry, named, POLICY, dry=False, now=LATER)
    assert {each.record.reference for each in verdicts if each.goes} == {"support/v3"}
    assert registry.versions("support") == ["v1", "v2", "v4"]


def test_a_removal_waits_for_who_changes_the_registry(registry: Registry, tmp_path: Path) -> None:
    for seed in range(2):
        made.register(registry, tmp_path, seed=seed)
    with stages.changing(registry.root / "support") as standings:
        thread = threading.Thread(target=goes, args=(registry,), kwargs={"dry": False})
        thread.start()
        thread.join(0.3)
        assert registry.versions("support") == ["v1", "v2"]
        standings.promote("v1")
    thread.join()
    assert registry.versions("support") == ["v1", "v2"]


def test_two_collections_at_once(registry: Registry, tmp_path: Path) -> None:
    for seed in range(12):
        made.register(registry, tmp_path, seed=seed)
    code = (
        "import sys; from pathlib import Path; from datetime import *;"
        "from slipway.training.registry.collecting import *;"
        "from slipway.training.registry.store import Registry;"
        "done = collect(Registry(Path(sys.argv[1])), Named, Policy(1), dry=False,"
        " now=datetime.now(timezone.utc) + timedelta(30));"
        "print(*[each.record.version for each in done if each.goes])"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(registry.root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate() for process in started]
    assert [err for _, err in told] == ["", ""]
    removed = sorted(version for out, _ in told for version in out.split())
    assert removed == sorted(f"v{at}" for at in range(1, 12))
    assert registry.versions("support") == ["v12"]
