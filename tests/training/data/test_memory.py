"""Memory stays flat while the data grows: measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.training.data.chunks import TARGET
from training.data.preparing import sentence

PREPARE = """
import json, resource, sys
from pathlib import Path
from slipway.training.data import executors
from training.data.preparing import prepared, spec

steps = [{"name": name} for name in ("fix-encoding", "whitespace", "length", "deduplicate")]
version = prepared(Path(sys.argv[2]), spec(Path(sys.argv[1]), "text", preparation=steps), executor=executors.here)
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
            number = 0
            while file.tell() < factor * (TARGET + (1 << 20)):
                text = " ".join(sentence(number * 20 + at) for at in range(20))
                file.write(json.dumps({"text": f"{number} {text}"}) + "\n")
                number += 1
        rows, sizes[factor] = peak(path, tmp_path / str(factor))
        assert rows > 0.9 * number
    # The data grew by 35 MB; what is kept of each record is some hundred bytes.
    assert sizes[8] - sizes[1] < 20 << 20
