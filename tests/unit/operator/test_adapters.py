"""Which adapters engines are to have, and how the versions of one share its requests."""

from typing import Any

import pytest

from slipway.objects import LLMService
from slipway_operator.adapters import Engines, Result, advance, offers
from slipway_operator.rollouts import Counts
from unit.operator.written import llm_service, parsed

LORA = {"engine": {"args": ["--enable-lora"]}}
STEPS = [{"weight": 20, "pause": "30s"}, {"weight": 50, "pause": "30s"}]


def fine_tune(
    name: str = "f", version: str = "v1", *, at: str = "2026-01-01T00:00:00Z", **deploy: Any
) -> dict[str, Any]:
    """A FineTune that has registered a version for the service `m`."""
    return {
        "metadata": {"name": name, "namespace": "models"},
        "spec": {"deploy": {"service": "m", **deploy}},
        "status": {
            "artifact": {
                "kind": "adapter", "version": version, "digest": f"sha256:{name}{version}",
                "source": f"registry+http://{name}/{name}/{version}",
            },
            "stages": [{"name": "register", "state": "Succeeded", "completedAt": at}],
        },
    }  # fmt: skip


class Serving:
    """Engines that have what they are told, one turn later."""

    def __init__(self, ready: int = 2, **spec: Any) -> None:
        self.service: LLMService = parsed(llm_service(**{**LORA, **spec}))
        self.ready, self.now = ready, 1_000_000.0
        self.status: dict[str, Any] = {}
        self.has: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        self.counts: dict[str, Counts] = {}
        self.items: list[dict[str, Any]] = []
        self.last = Result()

    def turn(self, seconds: float = 1.0) -> Result:
        found = offers(self.service, self.items)
        engines = Engines(self.ready, self.has, self.refused)
        self.last = advance(self.service, self.status, found, engines, self.counts, self.now)
        self.status = {"adapters": self.last.adapters, "adapterRollouts": self.last.rollouts}
        self.has = {name: self.ready for name in self.last.wanted if name not in self.refused}
        self.now += seconds
        return self.last

    def run(self, turns: int = 10) -> "Serving":
        for _ in range(turns):
            self.turn()
        return self

    @property
    def weights(self) -> dict[str, int]:
        return {each["engineName"]: each["weight"] for each in self.status["adapters"]}

    @property
    def states(self) -> dict[str, str]:
        return {each["engineName"]: each["state"] for each in self.status["adapters"]}


def test_the_first_version_gets_all_requests_once_engines_have_it() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    first = engines.turn()
    assert engines.states == {"f.v1": "Loading"}
    assert engines.weights == {"f.v1": 0}
    assert first.wanted == {"f.v1": "registry+http://f/f/v1"}
    engines.run(3)
    assert engines.states == {"f.v1": "Ready"}
    assert engines.weights == {"f.v1": 100}


def test_all_as_wanted_changes_nothing() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    engines.run()
    before = engines.status
    again = engines.turn()
    assert engines.status == before
    assert (again.events, again.again_after, again.under_way) == ((), None, False)


def test_a_newer_version_takes_over_at_once_where_there_are_no_steps() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    engines.run()
    engines.items = [fine_tune(version="v2")]
    engines.turn()
    assert engines.weights == {"f.v1": 100, "f.v2": 0}, "it is not loaded yet"
    engines.run(2)
    assert engines.weights == {"f.v1": 0, "f.v2": 100}
    engines.run(20)
    assert engines.weights == {"f.v2": 100}
    assert engines.last.wanted == {"f.v2": "registry+http://f/f/v2"}


def test_by_steps_it_takes_its_share_and_then_everything() -> None:
    engines = Serving(rollout={"analysis": {"interval": "1s"}})
    engines.items = [fine_tune(steps=STEPS)]
    engines.run()
    engines.items = [fine_tune(version="v2", steps=STEPS)]
    seen = []
    for _ in range(120):
        engines.turn()
        seen.append(engines.weights.get("f.v2", 0))
    assert sorted(set(seen)) == [0, 20, 50, 100]
    assert seen == sorted(seen)
    assert engines.weights == {"f.v2": 100}


def test_one_that_fails_more_requests_is_taken_back_and_not_tried_again() -> None:
    engines = Serving(rollout={"analysis": {"interval": "1s", "failureLimit": 2}})
    engines.items = [fine_tune(steps=STEPS)]
    engines.run()
    engines.items = [fine_tune(version="v2", steps=STEPS)]
    for number in range(60):
        engines.turn()
        engines.counts = {"f.v1": Counts(number * 80, 0), "f.v2": Counts(number * 20, number * 10)}
    assert engines.states == {"f.v1": "Ready", "f.v2": "RolledBack"}
    assert engines.weights == {"f.v1": 100, "f.v2": 0}
    assert "f.v2" not in engines.last.wanted
    assert "requests failed" in str(engines.status["adapters"])
    engines.items = [fine_tune(version="v3", steps=STEPS)]
    engines.run(150)
    assert engines.weights == {"f.v3": 100}


def test_a_version_that_engines_refuse_leaves_the_one_before() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    engines.run()
    engines.items = [fine_tune(version="v2")]
    engines.refused = {"f.v2": "LoRA rank 64 is greater than max_lora_rank 16"}
    engines.run()
    assert engines.states == {"f.v1": "Ready", "f.v2": "RolledBack"}
    assert "rank 64" in str(engines.status["adapters"])


def test_a_first_version_that_engines_refuse_says_why() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    engines.refused = {"f.v1": "LoRA rank 64 is greater than max_lora_rank 16"}
    engines.run()
    (entry,) = engines.status["adapters"]
    assert (entry["state"], entry["weight"]) == ("Loading", 0)
    assert entry["message"].startswith("AdapterRefused: LoRA rank 64")


def test_without_room_for_adapters_nothing_is_tried_and_the_mend_is_told() -> None:
    engines = Serving(engine={"args": []})
    engines.items = [fine_tune()]
    engines.run()
    (entry,) = engines.status["adapters"]
    assert (entry["state"], entry["weight"]) == ("Loading", 0)
    assert "--enable-lora" in entry["message"]
    engines.service = parsed(llm_service(**LORA))
    engines.run()
    assert engines.weights == {"f.v1": 100}


def test_a_deleted_fine_tune_takes_its_adapter_with_it() -> None:
    engines = Serving()
    engines.items = [fine_tune()]
    engines.run()
    engines.items = []
    gone = engines.turn()
    assert (gone.adapters, gone.rollouts, gone.wanted) == ([], [], {})


def test_of_two_with_one_name_the_newest_counts_and_the_other_returns_when_that_goes() -> None:
    engines = Serving()
    old, new = fine_tune("a"), fine_tune("b")
    for each, at in ((old, "2026-01-01T00:00:00Z"), (new, "2026-02-01T00:00:00Z")):
        each["spec"]["deploy"] = {"service": "m", "name": "support"}
        each["status"]["stages"][0]["completedAt"] = at
    engines.items = [old]
    engines.run()
    engines.items = [old, new]
    engines.run(30)
    assert engines.weights == {"support.v1-bv1": 100}, "the name support.v1 was taken"
    engines.items = [old]
    engines.run()
    assert engines.weights == {"support.v1": 100}


@pytest.mark.parametrize("ready", [0, 1])
def test_an_adapter_of_engines_that_sleep_is_known_so_that_a_request_wakes_them(ready: int) -> None:
    engines = Serving(ready)
    engines.items = [fine_tune()]
    engines.run()
    assert engines.weights == {"f.v1": 100}


def test_an_engine_that_has_just_begun_takes_nothing_from_the_others() -> None:
    engines = Serving(2)
    engines.items = [fine_tune()]
    engines.run()
    engines.has = {"f.v1": 1}  # One of two.
    engines.turn()
    assert engines.weights == {"f.v1": 100}
