"""CodeCarbon as it is: without a network."""

from pathlib import Path
from threading import Event

import pytest

from slipway.training.tracking import energy


def test_codecarbon_measures_without_a_network(tmp_path: Path) -> None:
    for environ, where in (({}, "world average"), ({"SLIPWAY_COUNTRY": "deu"}, "grid of DEU")):
        meter = energy.CodeCarbonMeter(environ)
        sum(range(20_000_000))
        kwh, kg = meter.read()
        meter.stop()
        assert kwh > 0
        assert 0.01 < kg / kwh < 1.5
        assert where in meter.method
        assert meter.estimated == ("processor load" in meter.method)


def test_a_stage_that_lasts_is_measured_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_FIRST_S", 0.0)
    started = Event()

    def start(environ: object) -> energy.Meter:
        meter = energy.CodeCarbonMeter({})
        started.set()
        return meter

    with energy.metering(tmp_path, "train", {}, start):
        assert started.wait(60)
        sum(range(20_000_000))
    spent = energy.spent(tmp_path)
    assert spent.method.startswith("CodeCarbon ")
    assert spent.energy_kwh is not None
    assert spent.energy_kwh > 0
