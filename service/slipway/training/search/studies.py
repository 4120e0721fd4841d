"""Optuna's study of a search, kept in a journal that a kill at any moment leaves readable."""

import fcntl
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slipway.objects.hyperparameters import SearchSpec
from slipway.training.errors import SearchError
from slipway.training.search import samplers
from slipway.training.search.pruners import pruner
from slipway.training.search.spaces import Space
from slipway.training.search.trials import Phase, Trial, trial_name

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MISSING = "MetricMissing"
"""Reason of a trial whose training reports no objective: so will all others."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one trial is to do."""

    number: int
    parameters: dict[str, str]

    @property
    def name(self) -> str:
        """Of the trial and of its folder."""
        return trial_name(self.number)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a trial."""

    state: Literal["Succeeded", "Stopped", "Failed"]
    metrics: Mapping[str, float]
    """On the validation part."""
    reason: str = ""
    message: str = ""
    seconds: float = 0.0


class Study:
    """The trials of one search. One process at a time works on it.

    Args:
        path: of the journal; made if it is not there.
        spec: what is asked for.
        space: of its parameters.
        name: what the study stands for; a journal of another name is begun anew.
    """

    def __init__(self, path: Path, spec: SearchSpec, space: Space, name: str) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.spec, self.space = spec, space
        self._pruner = pruner(spec, space.evaluations())
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend(path)
        self._storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Held()))
        self._study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            direction=spec.objective.goal,
            sampler=optuna.samplers.RandomSampler(seed=spec.seed),
            pruner=self._pruner,
            load_if_exists=True,
        )

    @property
    def number_of_trials(self) -> int:
        """Begun so far."""
        return len(self._frozen())

    def cut_off(self) -> list[Assignment]:
        """Trials that were begun and have not ended."""
        return [
            Assignment(trial.number, self.space.text(trial.params))
            for trial in self._frozen()
            if not trial.state.is_finished()
        ]

    def begin(self) -> Assignment | None:
        """Begin the next trial; None where there is none left to try."""
        import optuna

        trials = self._frozen()
        if len(trials) >= self.spec.trials:
            return None
        parameters = samplers.draw(self._study, trials, self.spec, self.space, self._pruner)
        if parameters is None:
            return None
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=self.space.values(parameters),
                distributions={axis.name: axis.distribution() for axis in self.space.axes},
            )
        )
        return Assignment(len(trials), parameters)

    def report(self, number: int, evaluation: int, metrics: Mapping[str, float]) -> bool:
        """Take in an evaluation of a trial; whether the trial is to go on.

        Args:
            number: of the trial.
            evaluation: counted from 1. A trial that went on from a checkpoint may report one again.
            metrics: on the validation part.
        """
        value = metrics.get(self.spec.objective.metric)
        if value is None or not math.isfinite(value):
            return False
        key = self._id(number)
        self._storage.set_trial_intermediate_value(key, evaluation, value)
        trial = self._storage.get_trial(key)
        if "pruned" in trial.user_attrs:
            return False
        pruned = self._pruner.prune(self._study, trial)
        if pruned:
            self._storage.set_trial_user_attr(key, "pruned", evaluation)
        return not pruned

    def end(self, number: int, ended: Ended) -> Trial:
        """Take in what came of a trial. A trial without an objective that is a number has failed."""
        from optuna.trial import TrialState

        ended = self._judged(ended)
        document = {
            "metrics": dict(ended.metrics),
            "reason": ended.reason,
            "message": ended.message,
            "seconds": ended.seconds,
        }
        self._storage.set_trial_user_attr(self._id(number), "ended", document)
        if ended.state == "Succeeded":
            self._study.tell(number, ended.metrics[self.spec.objective.metric])
        else:
            state = TrialState.PRUNED if ended.state == "Stopped" else TrialState.FAIL
            self._study.tell(number, state=state)
        return self.trials()[number]

    def trials(self) -> list[Trial]:
        """All of them, in the order in which they were begun."""
        return [self._trial(trial) for trial in self._frozen()]

    def importance(self) -> dict[str, float]:
        """How much of the objective's variance each parameter explains, by fANOVA; shares of 1, the largest
        first. Empty where fewer than four trials were done or their objective is the same."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        done = [trial.value for trial in self._frozen() if trial.state == TrialState.COMPLETE]
        if len(done) < 4 or len(set(done)) < 2:
            return {}
        evaluator = FanovaImportanceEvaluator(seed=self.spec.seed)
        return dict(get_param_importances(self._study, evaluator=evaluator))

    def _judged(self, ended: Ended) -> Ended:
        """A trial that has no objective has failed, whatever it says."""
        metric = self.spec.objective.metric
        kept = {name: value for name, value in ended.metrics.items() if math.isfinite(value)}
        if ended.state == "Failed" or metric in kept:
            return replace(ended, metrics=kept)
        if metric in ended.metrics:
            reason, message = "NotANumber", f"`{metric}` is no number; a lower learning rate may help."
        else:
            known = ", ".join(f"`{name}`" for name in sorted(ended.metrics)) or "nothing"
            reason, message = (
                MISSING,
                f"Training reports no `{metric}` on the validation part; it reports {known}.",
            )
        return Ended("Failed", kept, reason, message, ended.seconds)

    def _trial(self, trial: "FrozenTrial") -> Trial:
        from optuna.trial import TrialState

        phases: dict[Any, Phase] = {
            TrialState.COMPLETE: "Succeeded",
            TrialState.PRUNED: "Stopped",
            TrialState.FAIL: "Failed",
        }
        history = dict(sorted(trial.intermediate_values.items()))
        return Trial(
            number=trial.number,
            phase=phases.get(trial.state, "Running"),
            parameters=self.space.text(trial.params),
            value=trial.value
            if trial.state == TrialState.COMPLETE
            else next(reversed(history.values()), None),
            history=history,
            **trial.user_attrs.get("ended", {}),
        )

    def _frozen(self) -> list["FrozenTrial"]:
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(self._study.study_name)
        return int(self._storage.get_trial_id_from_study_id_trial_number(study, number))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a search's folder. Raises SearchError where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SearchError(f"Another process searches in {folder}; stop it first.", "Busy") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _mend(path: Path) -> None:
    """Take off the half line that a kill has left of a write; Optuna would write on behind it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


class _Held:
    """No lock: `alone` holds the folder. Optuna's own would outlive a killed process by half a minute."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None
