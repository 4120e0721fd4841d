"""A local run says once for each object what of it does not count there."""

from slipway.objects.clusteronly import warnings
from slipway.objects.loading import load

HEAD = "apiVersion: slipway.dev/v1alpha1\nkind: LLMService\nmetadata: {name: a}\nspec:\n"


def said(spec: str) -> list[str]:
    return list(warnings(load((HEAD + spec).encode(), "f.yaml")))


def test_nothing_is_said_where_all_counts() -> None:
    assert said("  model: {source: 'hf://x/y'}\n  rollout: {strategy: Recreate}\n  replicas: 2\n") == []


def test_fields_of_a_cluster_are_named_in_one_line() -> None:
    spec = "  model: {source: 'hf://x/y'}\n  cache: {storageClass: fast}\n"
    spec += "  engine: {resources: {limits: {cpu: 2}}}\n"
    assert said(spec) == ["LLMService a: spec.engine.resources, spec.cache count on a cluster alone."]
    assert said(spec.replace("cache", "autoscaling").replace("storageClass: fast", "")) == [
        "LLMService a: spec.engine.resources, spec.autoscaling count on a cluster alone; "
        "here spec.replicas (1) says how many engines run."
    ]


def test_a_canary_is_a_rolling_update_here() -> None:
    steps = "  rollout: {strategy: Canary, steps: [{weight: 10, pause: manual}]}\n"
    assert said("  model: {source: 'hf://x/y'}\n" + steps) == [
        "LLMService a: spec.rollout.steps, spec.rollout.strategy Canary count on a cluster alone; "
        "here changes are rolled out by RollingUpdate."
    ]


def test_a_cluster_volume_and_a_fine_tune_are_told() -> None:
    fine_tune = (
        "---\napiVersion: slipway.dev/v1alpha1\nkind: FineTune\nmetadata: {name: t}\n"
        "spec: {baseModel: {source: 'hf://x/y'}, dataset: {sources: [{name: a, source: 'hf://x/z'}]}}\n"
    )
    volume, tune = said("  model: {source: 'pvc://claim/folder'}\n" + fine_tune)
    assert "write file:///path" in volume
    assert tune == "FineTune t: nothing on one machine carries it out."
