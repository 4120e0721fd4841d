import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from slipway.training.tracking import energy
from slipway.training.tracking.energy import metering, spent


class Fixed:
    method = "a meter"
    estimated = False

    def __init__(self, environ: Mapping[str, str]) -> None:
        pass

    def read(self) -> tuple[float, float]:
        return 0.5, 0.2

    def stop(self) -> None:
        pass


def busy() -> None:
    sum(range(3_000_000))


def test_what_no_meter_tells_is_estimated_and_called_so(tmp_path: Path) -> None:
    with metering(tmp_path, "train", {}):
        busy()
    found = spent(tmp_path)
    assert found.estimated
    assert found.method.startswith("estimated: processor time at 6 W a core")
    assert found.energy_kwh == pytest.approx(found.cpu_hours * 6 / 1000)
    assert found.emissions_kg == pytest.approx((found.energy_kwh or 0) * 0.475)
    assert found.hours > 0


def test_a_meter_counts_and_the_time_before_it_ran_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_FIRST_S", 0.0)
    with metering(tmp_path, "train", {}, Fixed):
        busy()
    found = spent(tmp_path)
    assert (found.method, found.estimated) == ("a meter", False)
    assert found.energy_kwh is not None
    assert found.energy_kwh >= 0.5


def test_a_meter_that_fails_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_FIRST_S", 0.0)

    def start(environ: Mapping[str, str]) -> energy.Meter:
        raise ImportError("codecarbon")

    with metering(tmp_path, "train", {}, start):
        busy()
    assert spent(tmp_path).estimated
    (tmp_path / "file").touch()
    with metering(tmp_path / "file", "train", {}, start):  # Nothing can be written below it.
        busy()


def test_attempts_and_stages_add_up(tmp_path: Path) -> None:
    for stage in ("train", "train", "evaluate"):
        with metering(tmp_path, stage, {}):
            busy()
    assert len(list((tmp_path / "energy").iterdir())) == 3
    (tmp_path / "energy" / "train-0-0.json").write_text("{")  # Half written, as by a full disk.
    assert spent(tmp_path).hours > 0
    assert spent(tmp_path / "none").energy_kwh is None


def test_a_killed_attempt_has_told_what_it_took(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slipway.training.tracking import energy\n"
        "energy._FIRST_S = energy._EVERY_S = 0.05\n"
        "def none(environ): raise ImportError\n"
        "with energy.metering(Path(sys.argv[1]), 'train', {}, none):\n"
        "    while not list((Path(sys.argv[1]) / 'energy').glob('train-*.json')): pass\n"
        "    print('told', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"told\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert spent(tmp_path).cpu_hours > 0
