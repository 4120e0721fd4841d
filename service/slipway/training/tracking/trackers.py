"""What a tracker of experiments can do, and which there are: off unless `$SLIPWAY_TRACKERS` names them.

Each is set up by its own variables: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`, …; `COMET_API_KEY`,
`COMET_PROJECT_NAME`, `COMET_WORKSPACE`, … or `COMET_START_ONLINE=0` and `COMET_OFFLINE_DIRECTORY`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

VARIABLE = "SLIPWAY_TRACKERS"
"""Names of trackers, with commas between them."""
NAMES = ("mlflow", "comet")


class TrackerError(Exception):
    """A tracker cannot be reached, or is not set up; says how to mend it."""


@dataclass(frozen=True, slots=True)
class Row:
    """The metrics of one step."""

    step: int
    at: float
    """When they were taken, in seconds since 1970."""
    values: Mapping[str, float]


class Tracker(Protocol):
    """One tracker. Any call may raise anything: the caller tries again later."""

    def start(self, name: str, key: str, known: str | None, tags: Mapping[str, str]) -> str:
        """Begin a run, or go on with it.

        Args:
            name: what people call it.
            key: forty hexadecimal digits that are the run's own.
            known: what `start` returned the first time.

        Returns:
            What the tracker calls it.
        """

    def log_parameters(self, values: Mapping[str, str]) -> None:
        """What it is made with; told once."""

    def log_metrics(self, rows: Sequence[Row]) -> None:
        """Metrics, in order."""

    def log_link(self, name: str, address: str) -> None:
        """Where an artifact lies. The artifact itself stays where it is."""

    def finish(self, state: Literal["running", "finished", "failed"]) -> None:
        """Send what is left; `running` where another stage goes on with it."""


def tracker(name: str) -> Tracker:
    """The tracker of a name; its library is loaded now. Raises TrackerError where that is not installed."""
    try:
        module = import_module(f"slipway.training.tracking.{name}_tracker")
    except ImportError as error:
        raise TrackerError(
            f"{error.name} is not installed: make the environment with the extra `trackers`"
            " (`pip install 'slipway[training,trackers]'`)."
        ) from error
    return cast("Tracker", module.made())
