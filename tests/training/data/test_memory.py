"""Memory stays flat while the data grows: measured in processes of their own."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 6 << 20
"""Bytes of the smaller file."""
PREPARE = """
import json, resource, sys
from pathlib import Path
from slipway.training.data import chunks, chunkwork, executors, shards
from training.data.preparing import prepared, spec

# Small buffers are full early, so that what grows afterwards grows with the data.
chunks.TARGET = chunkwork._CHARACTERS = shards._GROUP = 1 << 20
steps = [{"name": name} for name in ("fix-encoding", "whitespace", "length", "deduplicate")]
wanted = spec(Path(sys.argv[1]), "text", preparation=steps)
version = prepared(Path(sys.argv[2]), wanted, executor=executors.here)
rows = sum(version.count(part) for part in ("train", "validation", "test"))
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def peak(path: Path, work: Path) -> tuple[int, int]:
    """Rows of the version, and bytes resident at most."""
    command = [sys.executable, "-c", PREPARE, str(path), str(work)]
    tests = Path(__file__).parents[2]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tests, check=True)
    rows, size = json.loads(ran.stdout)
    return rows, size


@pytest.mark.timeout(300)
def test_eight_times_the_data_take_no_more_memory(tmp_path: Path) -> None:
    sizes = {}
    for factor in (1, 8):
        path = tmp_path / f"{factor}.jsonl"
        with path.open("w") as file:
            number, draw = 0, random.Random(factor)
            while file.tell() < factor * SIZE:
                text = " ".join(f"word{draw.randrange(10**6)}" for _ in range(100))
                file.write(json.dumps({"text": text}) + "\n")
                number += 1
        rows, sizes[factor] = peak(path, tmp_path / str(factor))
        assert rows > 0.9 * number
    # The data grew by 42 MB; what is kept of each record is some hundred bytes.
    assert sizes[8] - sizes[1] < 32 << 20
