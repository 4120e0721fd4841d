"""Which models may answer a request."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.catalog import Model, Snapshot
from slipway.gateway.routing import DEEPEST, candidates, chosen
from slipway.objects import ModelRoute


def model(name: str) -> Model:
    return Model(name, name, "generate", "r", ("h:1",), 1)


def route(name: str, *targets: tuple[str, int], fallbacks: tuple[str, ...] = ()) -> ModelRoute:
    spec = {
        "targets": [{"model": each, "weight": weight} for each, weight in targets],
        "fallbacks": fallbacks,
    }
    return ModelRoute.model_validate({"metadata": {"name": name}, "spec": spec})


def world(models: str, *routes: ModelRoute) -> Snapshot:
    return Snapshot(
        models={name: model(name) for name in models.split()},
        routes={each.served_name: each for each in routes},
    )


def names(snapshot: Snapshot, name: str, point: float = 0.0, sticky: str | None = None) -> list[str]:
    return [each.name for each in candidates(snapshot, name, lambda: point, sticky)]


def test_a_model_is_itself_and_nothing_is_nobody() -> None:
    assert names(world("a"), "a") == ["a"]
    assert names(world("a"), "b") == []


def test_an_alias_leads_to_its_model_and_its_fallbacks_follow() -> None:
    snapshot = world("a b c", route("best", ("a", 1), fallbacks=("b", "gone", "c")))
    assert names(snapshot, "best") == ["a", "b", "c"]


def test_what_does_not_exist_is_passed_over() -> None:
    assert names(world("b", route("best", ("a", 1), fallbacks=("b",))), "best") == ["b"]
    assert names(world("", route("best", ("a", 1))), "best") == []


def test_the_other_targets_stand_behind_the_fallbacks_but_not_those_without_weight() -> None:
    snapshot = world("a b c d", route("best", ("a", 1), ("b", 1), ("c", 0), fallbacks=("d",)))
    assert names(snapshot, "best", 0.9) == ["b", "d", "a"]


def test_routes_lead_to_routes_and_loops_end() -> None:
    snapshot = world("a", route("x", ("y", 1)), route("y", ("x", 1), fallbacks=("a",)))
    assert names(snapshot, "x") == ["a"]
    deep = [route(f"r{n}", (f"r{n + 1}", 1)) for n in range(DEEPEST + 2)]
    assert names(world("a", *deep, route(f"r{DEEPEST + 2}", ("a", 1))), "r0") == []


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_target_without_weight_is_never_chosen(weights: list[int], point: float) -> None:
    made = route("x", *((f"m{n}", weight) for n, weight in enumerate(weights)))
    assert weights[int(chosen(made, point)[1:])] > 0


def test_the_split_is_by_weight() -> None:
    made = route("x", ("a", 90), ("b", 10))
    counts = Counter(chosen(made, n / 1000) for n in range(1000))
    assert counts == {"a": 900, "b": 100}
    drawn = Random(1)
    counts = Counter(names(world("a b", made), "x", drawn.random())[0] for _ in range(5000))
    assert 420 < counts["b"] < 580


def test_a_session_stays_on_its_target_and_sessions_are_split_by_weight() -> None:
    snapshot = world("a b", route("x", ("a", 1), ("b", 3)))
    counts: Counter[str] = Counter()
    for session in range(2000):
        first = {names(snapshot, "x", point, f"s{session}")[0] for point in (0.0, 0.5, 0.99)}
        assert len(first) == 1
        counts.update(first)
    assert 420 < counts["a"] < 580
