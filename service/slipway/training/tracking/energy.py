"""What the stages of a run take in time and electricity, over all attempts.

runs/NAME/energy/STAGE-WHEN-PID.json holds one attempt (`Attempt`). It is written anew every half minute, so
that an attempt that is killed has told nearly all of it, and it stays when a stage is done again.

CodeCarbon measures, in its offline mode: by the processor's and the GPU's own meters (RAPL, NVML) where they
can be read, otherwise by a model of the load of this process and its children, an estimate and called so.
Where CodeCarbon is not installed, the estimate is processor time at `WATTS_PER_CORE`.
"""

import logging
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.training.runs import write_atomically

COUNTRY = "SLIPWAY_COUNTRY"
"""ISO 3166 code of three letters, for the carbon intensity of the grid."""
WATTS_PER_CORE = 6.0
"""Of a busy core with its share of memory, where nothing better is known."""
WORLD_G_PER_KWH = 475.0
"""Carbon intensity of the world's electricity: IEA, Global Energy & CO2 Status Report 2019."""
_WORLD = f"world average of {WORLD_G_PER_KWH:g} g/kWh"
_ESTIMATE = f"estimated: processor time at {WATTS_PER_CORE:g} W a core, {_WORLD}"
_FIRST_S = 5.0
"""A shorter stage is not worth starting a meter for."""
_EVERY_S = 30.0
_JOULES_PER_KWH = 3_600_000.0
_METERS = {"intel_rapl", "intel_power_gadget"}


class Attempt(BaseModel):
    """What one attempt at a stage took."""

    model_config = ConfigDict(extra="ignore")

    stage: str
    seconds: float
    cpu_seconds: float
    energy_kwh: float
    emissions_kg: float
    method: str
    estimated: bool


class Spent(BaseModel):
    """What all attempts at all stages took together."""

    hours: float = 0.0
    cpu_hours: float = 0.0
    energy_kwh: float | None = None
    emissions_kg: float | None = None
    method: str = ""
    estimated: bool = True


class Meter(Protocol):
    """Something that knows how much energy was used since it was started."""

    method: str
    estimated: bool

    def read(self) -> tuple[float, float]:
        """Energy in kWh and emissions in kg of CO2 equivalents."""

    def stop(self) -> None:
        """Measure no more."""


class CodeCarbonMeter:
    """CodeCarbon without a network; starting it takes a second. Raises ImportError if it is not there."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        logging.getLogger("codecarbon").disabled = True  # It tells the user's terminal how it is set up.
        import codecarbon

        country = environ.get(COUNTRY, "").upper()
        grid = (
            {"country_iso_code": country}
            if country
            else {"force_carbon_intensity_g_co2e_kwh": WORLD_G_PER_KWH}
        )
        # With a lock file of its own it would take over the process's signals.
        self._tracker: Any = codecarbon.OfflineEmissionsTracker(
            output_methods=[],
            allow_multiple_runs=True,
            measure_power_secs=15,
            tracking_mode="process",
            **grid,
        )
        self._tracker.start()
        modes = {getattr(each, "_mode", None) for each in self._tracker._hardware}
        kinds = {type(each).__name__ for each in self._tracker._hardware}
        self.estimated = not modes & _METERS
        how = "the processor's meter" if not self.estimated else "an estimate from processor load"
        gpu = " and the GPU's meter" if "GPU" in kinds else ""
        where = f"grid of {country}" if country else _WORLD
        self.method = f"CodeCarbon {codecarbon.__version__} offline, {how}{gpu}, {where}"

    def read(self) -> tuple[float, float]:
        self._tracker.flush()
        data = self._tracker._prepare_emissions_data()
        return data.energy_consumed, data.emissions

    def stop(self) -> None:
        self._tracker.stop()


@contextmanager
def metering(
    run: Path, stage: str, environ: Mapping[str, str] = os.environ, start: Any = CodeCarbonMeter
) -> Iterator[None]:
    """Write down what the block takes, below the run's folder. What goes wrong with that stops nothing.

    Args:
        start: makes a meter of the environment; tests hand in another one.
    """
    folder = run / "energy"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    metering = _Metering(folder / f"{stage}-{time.time_ns()}-{os.getpid()}.json", stage, environ, start)
    thread = threading.Thread(target=metering.run, name="energy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        metering.ended.set()
        thread.join()


class _Metering:
    def __init__(self, path: Path, stage: str, environ: Mapping[str, str], start: Any) -> None:
        self._path, self._stage, self._environ, self._start = path, stage, environ, start
        self._began, self._cpu = time.monotonic(), _cpu_seconds()
        self.ended = threading.Event()

    def run(self) -> None:
        meter, covered = None, _cpu_seconds()
        if not self.ended.wait(_FIRST_S):
            try:
                covered = _cpu_seconds()
                meter = self._start(self._environ)
            except Exception as error:
                logging.getLogger(__name__).info("Energy is estimated: %r", error)
        while not self.ended.wait(_EVERY_S):
            self._write(meter, covered)
        self._write(meter, covered)
        if meter is not None:
            with suppress(Exception):
                meter.stop()

    def _write(self, meter: Meter | None, covered: float) -> None:
        cpu = _cpu_seconds()
        used = cpu - self._cpu
        energy = used * WATTS_PER_CORE / _JOULES_PER_KWH
        emissions = energy * WORLD_G_PER_KWH / 1000
        method, estimated = _ESTIMATE, True
        if meter is not None and cpu > covered:
            with suppress(Exception):
                energy, emissions = meter.read()
                # What was used before the meter ran was used at the same rate.
                share = used / (cpu - covered)
                energy, emissions = energy * share, emissions * share
                method, estimated = meter.method, meter.estimated
        attempt = Attempt(
            stage=self._stage,
            seconds=time.monotonic() - self._began,
            cpu_seconds=used,
            energy_kwh=energy,
            emissions_kg=emissions,
            method=method,
            estimated=estimated,
        )
        with suppress(OSError):
            write_atomically(self._path, attempt.model_dump_json())


def spent(run: Path) -> Spent:
    """What was written down of a run so far."""
    attempts = []
    for path in sorted((run / "energy").glob("*.json")):
        with suppress(OSError, ValidationError):
            attempts.append(Attempt.model_validate_json(path.read_bytes()))
    if not attempts:
        return Spent()
    methods = dict.fromkeys(each.method for each in sorted(attempts, key=lambda each: -each.energy_kwh))
    return Spent(
        hours=sum(each.seconds for each in attempts) / 3600,
        cpu_hours=sum(each.cpu_seconds for each in attempts) / 3600,
        energy_kwh=sum(each.energy_kwh for each in attempts),
        emissions_kg=sum(each.emissions_kg for each in attempts),
        method="; ".join(methods),
        estimated=any(each.estimated for each in attempts),
    )


def _cpu_seconds() -> float:
    """Of this process and those of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
