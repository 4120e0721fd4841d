"""The samples are objects that Slipway takes, one by one and all together."""

from pathlib import Path

import pytest

from slipway.engine.options import check_args
from slipway.objects.loading import Loaded, load, load_file
from slipway.sources.addresses import parse

SAMPLES = sorted((Path(__file__).parents[3] / "k8s" / "samples").glob("*.yaml"))


def test_there_is_a_sample_of_each_kind_of_service() -> None:
    loaded = [load_file(path) for path in SAMPLES]
    services = [service for each in loaded for service in each.services]
    assert {service.spec.model.task for service in services} == {"generate", "embed", "classify", "score"}
    assert {service.spec.engine.device for service in services} >= {"cpu", "gpu"}
    assert any(service.spec.engine.tensor_parallel > 1 for service in services)
    assert any(service.spec.adapters for service in services)
    assert any(service.spec.rollout.strategy == "Canary" for service in services)
    assert any(
        service.spec.autoscaling and service.spec.autoscaling.min_replicas == 0 for service in services
    )
    assert any(each.keys for each in loaded)
    assert any(each.owners for each in loaded)
    assert any(each.routes for each in loaded)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_taken_as_it_is(path: Path) -> None:
    loaded = load_file(path)
    assert loaded != Loaded()
    assert path.read_text(encoding="utf-8").startswith("# "), "says first what it is for"
    for service in loaded.services:
        check_args(service.spec.engine.args)
        for source in (service.spec.model.source, *(adapter.source for adapter in service.spec.adapters)):
            parse(source)


def test_all_samples_can_be_applied_together() -> None:
    together = load(b"\n---\n".join(path.read_bytes() for path in SAMPLES), "samples")
    every = (together.services, together.keys, together.owners, together.routes)
    assert sum(map(len, every)) >= len(SAMPLES)
