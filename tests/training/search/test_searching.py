"""Searches of known functions: what is tried, what is saved, what is kept."""

from asyncio import Event
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

import pytest

from slipway.objects.hyperparameters import Hyperparameters
from slipway.training.errors import SearchError, Stopped
from slipway.training.search.searching import Search
from slipway.training.search.spaces import Space
from slipway.training.search.studies import Assignment, Ended, Study
from slipway.training.search.trials import Trial, best
from training.search.functions import POINTS, Function, loss, searched, spec


def lowest(trials: list[Trial]) -> float:
    return min(trial.value for trial in trials if trial.phase == "Succeeded" and trial.value is not None)


def parameters(trials: list[Trial]) -> list[dict[str, str]]:
    return [trial.parameters for trial in trials]


def test_bayesian_search_beats_random_search_at_equal_trials(tmp_path: Path) -> None:
    reached = {
        algorithm: fmean(
            lowest(searched(tmp_path / f"{algorithm}{seed}", spec(algorithm=algorithm, trials=30, seed=seed)))
            for seed in range(6)
        )
        for algorithm in ("random", "bayesian")
    }
    assert reached["bayesian"] < 0.6 * reached["random"]


def test_hyperband_reaches_nearly_the_same_with_half_of_the_evaluations(tmp_path: Path) -> None:
    asked, values = {}, {}
    for pruning in ("none", "median", "hyperband"):
        function = Function(evaluations=9)
        trials = searched(tmp_path / pruning, spec(pruning=pruning, trials=30), function, evaluations=9)
        asked[pruning], values[pruning] = function.asked, lowest(trials)
    assert asked["none"] == 30 * 9
    assert asked["hyperband"] < 0.55 * asked["none"]
    assert asked["median"] < 0.75 * asked["none"]
    # The best point stays the best at every evaluation of this function, so that pruning never loses it.
    assert values["hyperband"] == values["median"] == values["none"]


def test_a_grid_tries_each_point_once_and_ends(tmp_path: Path) -> None:
    trials = searched(tmp_path, spec(algorithm="grid", parameters=POINTS, trials=50))
    assert len(trials) == 6
    assert {(t.parameters["learningRate"], t.parameters["loraRank"]) for t in trials} == {
        (rate, rank) for rate in ("1e-4", "1e-3", "1e-2") for rank in ("4", "16")
    }
    found = best(trials, "minimize")
    assert found is not None
    assert found.parameters == {"learningRate": "1e-3", "loraRank": "16"}


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_no_point_of_a_small_space_is_tried_twice(tmp_path: Path, algorithm: str) -> None:
    trials = searched(tmp_path, spec(algorithm=algorithm, parameters=POINTS, trials=50))
    assert len({tuple(trial.parameters.items()) for trial in trials}) == len(trials) == 6


def test_the_goal_may_be_to_maximize(tmp_path: Path) -> None:
    asked = spec(
        algorithm="grid", parameters=POINTS, objective={"metric": "eval_loss", "goal": "maximize"}, trials=6
    )
    trials = searched(tmp_path, asked, Function(value=lambda *given: -loss(*given)))
    found = best(trials, "maximize")
    assert found is not None
    assert found.parameters == {"learningRate": "1e-3", "loraRank": "16"}


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_the_same_seed_tries_the_same_and_another_seed_does_not(tmp_path: Path, algorithm: str) -> None:
    one, same, other = (
        parameters(searched(tmp_path / str(at), spec(algorithm=algorithm, trials=12, seed=seed)))
        for at, seed in enumerate((1, 1, 2))
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_more_trials_go_on_where_fewer_ended(tmp_path: Path, algorithm: str) -> None:
    # TPE's random beginning is a third of the trials; the same here, so that only going on is looked at.
    whole = searched(tmp_path / "whole", spec(algorithm=algorithm, trials=11))
    searched(tmp_path / "parts", spec(algorithm=algorithm, trials=9))
    assert parameters(searched(tmp_path / "parts", spec(algorithm=algorithm, trials=11))) == parameters(whole)


def test_a_failed_trial_is_recorded_and_ends_nothing(tmp_path: Path) -> None:
    def value(given: Mapping[str, str], evaluation: int, of: int) -> float:
        return float("nan") if given["learningRate"] == "1e-2" else loss(given)

    trials = searched(tmp_path, spec(algorithm="grid", parameters=POINTS, trials=6), Function(value=value))
    failed = [trial for trial in trials if trial.phase == "Failed"]
    assert {trial.parameters["learningRate"] for trial in failed} == {"1e-2"}
    assert {trial.reason for trial in failed} == {"NotANumber"}
    assert len(failed) == 2
    assert sum(trial.phase == "Succeeded" for trial in trials) == 4


def test_an_objective_that_training_does_not_report_ends_the_search_at_once(tmp_path: Path) -> None:
    function = Function(evaluations=3)
    with pytest.raises(SearchError, match=r"no `eval_f1` .* it reports `eval_loss`") as caught:
        searched(tmp_path, spec(objective={"metric": "eval_f1"}), function)
    assert caught.value.reason == "MetricMissing"
    assert function.asked == 1


def test_no_trial_begins_once_the_time_is_spent(tmp_path: Path) -> None:
    asked, seconds = spec(trials=50), [0.0]

    class Slow(Function):
        async def __call__(
            self,
            assignment: Assignment,
            place: int,
            report: Callable[[int, Mapping[str, float]], bool],
            stop: Event,
        ) -> Ended | None:
            seconds[0] += 10
            return await super().__call__(assignment, place, report, stop)

    def search(spent: float) -> Search:
        study = Study(tmp_path / "study.log", asked, Space.of(asked, Hyperparameters()), "test")
        return Search(study, Slow(), timeout_s=35, spent_s=spent, clock=lambda: seconds[0])

    first = search(0)
    assert len(first.run()) == 4
    assert first.seconds == 40
    assert len(search(first.seconds).run()) == 4


def test_a_search_that_is_stopped_keeps_what_it_did_and_goes_on(tmp_path: Path) -> None:
    asked = spec(trials=6)
    done: list[int] = []

    class Interrupted(Function):
        async def __call__(
            self,
            assignment: Assignment,
            place: int,
            report: Callable[[int, Mapping[str, float]], bool],
            stop: Event,
        ) -> Ended | None:
            if assignment.number == 3 and not done:
                done.append(assignment.number)
                await stop.wait()
                return None
            return await super().__call__(assignment, place, report, stop)

    study = Study(tmp_path / "study.log", asked, Space.of(asked, Hyperparameters()), "test")
    with pytest.raises(Stopped):
        Search(study, Interrupted(), stopping=lambda: bool(done)).run()
    assert [trial.phase for trial in study.trials()] == ["Succeeded"] * 3 + ["Running"]
    assert parameters(searched(tmp_path, asked)) == parameters(searched(tmp_path / "whole", asked))


def test_half_a_line_that_a_kill_left_in_the_journal_does_no_harm(tmp_path: Path) -> None:
    asked = spec(trials=4)
    searched(tmp_path, spec(trials=3))
    journal = tmp_path / "study.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"wor')
    assert parameters(searched(tmp_path, asked)) == parameters(searched(tmp_path / "whole", asked))


def test_trials_run_side_by_side_and_each_place_has_one(tmp_path: Path) -> None:
    busy: set[int] = set()
    most: list[int] = []
    both = Event()

    class Together(Function):
        async def __call__(
            self,
            assignment: Assignment,
            place: int,
            report: Callable[[int, Mapping[str, float]], bool],
            stop: Event,
        ) -> Ended | None:
            assert place not in busy
            busy.add(place)
            most.append(len(busy))
            if len(busy) == 2:
                both.set()
            await both.wait()  # Hangs where trials come one after the other.
            ended = await super().__call__(assignment, place, report, stop)
            busy.discard(place)
            return ended

    asked = spec(trials=5, parallelism=2)
    trials = searched(tmp_path, asked, Together())
    assert max(most) == 2
    assert parameters(trials) == parameters(searched(tmp_path / "one", spec(trials=5)))


def test_importance_finds_the_parameter_that_matters(tmp_path: Path) -> None:
    asked = spec(trials=25)

    def value(given: Mapping[str, str], evaluation: int, of: int) -> float:
        return float(given["loraDropout"])

    searched(tmp_path, asked, Function(value=value))
    study = Study(tmp_path / "study.log", asked, Space.of(asked, Hyperparameters()), "test")
    importance = study.importance()
    assert next(iter(importance)) == "loraDropout"
    assert importance["loraDropout"] > 0.8
