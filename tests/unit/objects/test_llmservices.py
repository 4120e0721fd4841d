"""What an LLMService asks of a cluster: what is refused, and what makes a revision."""

from typing import Any

import pytest
from pydantic import ValidationError

from slipway.objects import LLMService


def service(**spec: Any) -> LLMService:
    asked = {"model": {"source": "hf://org/name"}, **spec}
    return LLMService.model_validate({"metadata": {"name": "a"}, "spec": asked})


@pytest.mark.parametrize(
    "spec",
    [
        {"engine": {"image": "registry.example/engine:1"}},
        {"engine": {"resources": {"limits": {"cpu": "2"}}}},
        {"engine": {"podTemplate": {"spec": {"nodeSelector": {"zone": "a"}}}}},
        {"engine": {"podTemplate": {"spec": {"priority": 0}}}},
        {"cache": {"storageClass": "fast"}},
        {"cache": {"nodePath": "/var/models"}},
        {"adapters": [{"name": "b", "source": "hf://x/y"}]},
    ],
)
def test_what_makes_pods_different_makes_a_revision(spec: dict[str, Any]) -> None:
    assert service(**spec).revision != service().revision


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 7},
        {"autoscaling": {}},
        {"rollout": {"strategy": "Recreate"}},
        {"pricing": {"inputPerMillion": "1"}},
        {"cache": {"size": "1Ti"}},
        {"engine": {"podTemplate": {}, "resources": {}}},
    ],
)
def test_what_pods_do_not_see_makes_none(spec: dict[str, Any]) -> None:
    assert service(**spec).revision == service().revision


def test_a_revision_stays_what_it_was() -> None:
    """Another hash here means that an upgrade restarts every engine."""
    assert service().revision == "225b8919d6"


def test_the_class_and_size_of_a_volume_are_not_the_pods() -> None:
    slow = service(cache={"storageClass": "slow", "size": "10Gi"})
    assert slow.revision == service(cache={"storageClass": "fast"}).revision


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"autoscaling": {"minReplicas": 5}}, "lower minReplicas or raise maxReplicas"),
        ({"autoscaling": {"idleTimeout": "5m"}}, "set minReplicas to 0"),
        ({"autoscaling": {"panicWindow": "2m"}}, "panicWindow is longer"),
        ({"rollout": {"strategy": "Canary"}}, "Canary needs steps; add some"),
        ({"rollout": {"steps": [{"weight": 5}]}}, "set strategy to Canary"),
        ({"rollout": {"strategy": "Canary", "steps": [{"weight": 5}, {"weight": 5}]}}, "must rise"),
        ({"rollout": {"strategy": "Canary", "steps": [{"weight": 50}, {"weight": 5}]}}, "must rise"),
        ({"cache": {"storageClass": "a", "nodePath": "/b"}}, "a cache has one place"),
        ({"cache": {"nodePath": "/b/../etc"}}, "nodePath"),
        ({"adapters": [{"name": "b", "source": "pvc://claim/b"}]}, "source"),
        (
            {
                "model": {"source": "hf://x/y", "name": "b"},
                "adapters": [{"name": "b", "source": "hf://x/z"}],
            },
            "the name of its base model",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        service(**spec)


def test_idle_engines_stop_only_where_none_need_stay() -> None:
    def idle(**autoscaling: Any) -> int | None:
        asked = service(autoscaling=autoscaling).spec.autoscaling
        assert asked is not None
        return asked.idle_seconds

    assert idle() is None
    assert idle(minReplicas=0) == 600
    assert idle(minReplicas=0, idleTimeout="30s") == 30


def test_a_status_of_a_newer_operator_is_read() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "extra": 1}],
        "rollout": {"phase": "Paused", "extra": 1},
        "extra": 1,
    }
    made = LLMService.model_validate(
        {"metadata": {"name": "a"}, "spec": {"model": {"source": "hf://x/y"}}, "status": status}
    )
    assert made.status.rollout.phase == "Paused"
    assert made.status.conditions[0].type == "Ready"
