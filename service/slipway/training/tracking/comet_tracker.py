"""Comet, over the network or into archives for `comet upload`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from slipway.training.tracking.trackers import Row


def made() -> "Comet":
    """An experiment that its own variables set up."""
    import comet_ml

    return Comet(comet_ml)


class Comet:
    """An experiment of a project: `$COMET_PROJECT_NAME`, or Comet's own default."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._experiment: Any = None

    def start(self, name: str, key: str, known: str | None, tags: Mapping[str, str]) -> str:
        # Only what is told here is sent: no code, no environment, no output of the process.
        config = self._library.ExperimentConfig(
            name=name,
            tags=[f"{each}:{value}" for each, value in tags.items()],
            log_code=False,
            log_graph=False,
            log_git_metadata=False,
            log_git_patch=False,
            log_env_details=False,
            parse_args=False,
            auto_output_logging=False,
            auto_param_logging=False,
            auto_metric_logging=False,
            display_summary_level=0,
        )
        self._experiment = self._library.start(
            experiment_key=key, mode="get_or_create", experiment_config=config
        )
        return str(self._experiment.get_key())

    def log_parameters(self, values: Mapping[str, str]) -> None:
        self._experiment.log_parameters(dict(values))

    def log_metrics(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._experiment.log_metrics(dict(row.values), step=row.step)

    def log_link(self, name: str, address: str) -> None:
        self._experiment.log_other(f"slipway.{name}", address)

    def finish(self, state: Literal["running", "finished", "failed"]) -> None:
        self._experiment.log_other("slipway.state", state)
        self._experiment.end()
