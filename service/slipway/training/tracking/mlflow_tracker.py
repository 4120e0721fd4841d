"""MLflow's tracking server."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from slipway.training.tracking.trackers import Row, TrackerError

_MOST_METRICS, _MOST_PARAMETERS, _LONGEST = 1000, 100, 6000
"""Of one request to the server; characters of a parameter's value."""
_ODD = re.compile(r"[^\w\-. /:]")
_STATES = {"finished": "FINISHED", "failed": "FAILED"}


def made() -> "MLflow":
    """A client of the server that `$MLFLOW_TRACKING_URI` names."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise TrackerError("MLflow has no server: set MLFLOW_TRACKING_URI, such as http://mlflow:5000.")
    # Its own answers to a server that is away take minutes; here a later try is the answer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow import MlflowClient

    return MLflow(MlflowClient())


class MLflow:
    """A run of an experiment: `$MLFLOW_EXPERIMENT_NAME`, or `slipway`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._run = ""

    def start(self, name: str, key: str, known: str | None, tags: Mapping[str, str]) -> str:
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._run = known
            return known
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "slipway")
        # A run that was begun by an attempt which was killed before it could note so is gone on with.
        found = self._client.search_runs([experiment], f"tags.`slipway.key` = '{key}'", max_results=1)
        run = (
            found[0]
            if found
            else self._client.create_run(experiment, run_name=name, tags={**tags, "slipway.key": key})
        )
        self._run = run.info.run_id
        return str(self._run)

    def log_parameters(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(_name(name), value[:_LONGEST]) for name, value in values.items()]
        for batch in _batches(params, _MOST_PARAMETERS):
            self._client.log_batch(self._run, params=batch, synchronous=True)

    def log_metrics(self, rows: Sequence[Row]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(_name(name), value, int(row.at * 1000), row.step)
            for row in rows
            for name, value in row.values.items()
        ]
        for batch in _batches(metrics, _MOST_METRICS):
            self._client.log_batch(self._run, metrics=batch, synchronous=True)

    def log_link(self, name: str, address: str) -> None:
        self._client.set_tag(self._run, _name(f"slipway.{name}"), address)

    def finish(self, state: Literal["running", "finished", "failed"]) -> None:
        if state in _STATES:
            self._client.set_terminated(self._run, _STATES[state])

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                # Another run has made it at this moment; otherwise the next line says what is wrong.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)


def _name(name: str) -> str:
    return _ODD.sub("_", name)[:250]


def _batches(items: list[Any], most: int) -> Iterator[list[Any]]:
    for at in range(0, len(items), most):
        yield items[at : at + most]
