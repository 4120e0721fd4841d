"""Virtual models: what an ensemble needs, said where it is missing."""

from typing import Any

import pytest

from slipway.objects.loading import LoadError, load
from slipway.objects.modelroutes import MOST_MEMBERS

TARGETS = "[{model: a}, {model: b}]"


def route(ensemble: str, targets: str = TARGETS, more: str = "") -> Any:
    text = (
        "apiVersion: slipway.dev/v1alpha1\nkind: ModelRoute\nmetadata: {name: several}\n"
        f"spec:\n  targets: {targets}\n  ensemble: {ensemble}\n{more}"
    )
    (made,) = load(text.encode(), "file").routes
    return made


@pytest.mark.parametrize(
    "ensemble",
    ["{strategy: vote}", "{strategy: average, quorum: 2, patience: 5s}", "{strategy: best, scorer: judge}"],
)
def test_an_ensemble_asks_its_targets(ensemble: str) -> None:
    assert [target.model for target in route(ensemble).spec.members] == ["a", "b"]


@pytest.mark.parametrize(
    ("ensemble", "targets", "more", "said"),
    [
        ("{strategy: best}", TARGETS, "", "a scorer goes with the strategy best"),
        ("{strategy: vote, scorer: judge}", TARGETS, "", "a scorer goes with the strategy best"),
        ("{strategy: vote}", "[{model: a}]", "", f"2 to {MOST_MEMBERS} models"),
        ("{strategy: vote}", "[{model: a}, {model: b, weight: 0}]", "", f"2 to {MOST_MEMBERS} models"),
        ("{strategy: vote}", f"[{', '.join(f'{{model: m{at}}}' for at in range(9))}]", "", "2 to 8 models"),
        ("{strategy: vote}", TARGETS, "  fallbacks: [c]\n", "an ensemble has no fallbacks"),
        ("{strategy: vote, quorum: 3}", TARGETS, "", "the quorum is larger"),
        ("{strategy: most}", TARGETS, "", "strategy"),
    ],
)
def test_one_that_cannot_work_is_refused_with_the_mend(
    ensemble: str, targets: str, more: str, said: str
) -> None:
    with pytest.raises(LoadError) as refused:
        route(ensemble, targets, more)
    assert said in str(refused.value)
