"""Metrics of gateways and engines, read as Prometheus writes them and summed by service."""

import math
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from slipway_operator.autoscaling import Load
from slipway_operator.plans import Measured
from slipway_operator.signals import Scraper, engine_load, measured, samples, summed

KEY = ("n", "m")


def gateway(in_flight: float = 0, waiting: float = 0, ok: int = 0, errors: int = 0, slow: int = 0) -> str:
    """What a gateway says, written by Prometheus' own library."""
    registry, labels = CollectorRegistry(), ("service", "namespace")
    own = ("m", "n")
    for name, value in (("in_flight", in_flight), ("waiting", waiting)):
        gauge = Gauge(f"slipway_service_requests_{name}", "", labels, registry=registry)
        gauge.labels(*own).set(value)
        gauge.labels("other", "n").set(99)
    requests = Counter("slipway_revision_requests", "", (*labels, "revision", "outcome"), registry=registry)
    requests.labels(*own, "a", "ok").inc(ok)
    requests.labels(*own, "a", "error").inc(errors)
    first = Histogram(
        "slipway_revision_first_byte_seconds",
        "",
        (*labels, "revision"),
        buckets=(0.1, 1.0),
        registry=registry,
    )
    for seconds, times in ((0.05, ok), (0.5, slow)):
        for _ in range(times):
            first.labels(*own, "a").observe(seconds)
    return generate_latest(registry).decode()


def engine(running: float, waiting: float) -> str:
    return (
        "# HELP vllm:num_requests_running Number of requests.\n"
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}\n'
        'vllm:prompt_tokens_total{engine="0"} 7.0\n'
    )


def test_gateways_are_summed_and_services_kept_apart() -> None:
    found = measured(summed([gateway(3, 1, ok=10), gateway(2, 0, ok=5, errors=2, slow=1)]), KEY, 2, 2)
    assert found.gateways == Load(5, 1, 2, 2)
    assert found.requests == 17
    counts = found.revisions["a"]
    assert (counts.requests, counts.errors) == (17, 2)
    assert counts.first_byte == {0.1: 15, 1.0: 16, math.inf: 16}


def test_a_gateway_that_says_nothing_of_a_service_has_nothing_to_say() -> None:
    assert measured(summed([gateway(1)]), ("n", "quiet"), 1, 1).gateways == Load(0, 0, 1, 1)


def test_no_answer_at_all_is_no_measurement() -> None:
    assert measured({}, KEY, 2, 0) == Measured()


def test_a_part_of_the_gateways_counts_for_load_but_not_for_comparisons() -> None:
    found = measured(summed([gateway(3, ok=10)]), KEY, 2, 1)
    assert found.gateways == Load(3, 0, 2, 1)
    assert found.revisions == {}


def test_engines_are_summed() -> None:
    assert engine_load([engine(3, 1), engine(2, 0)], 3) == Load(5, 1, 3, 2)
    assert engine_load(["", "process_cpu_seconds_total 1\n"], 2) is None


@pytest.mark.parametrize(
    "line",
    [
        "slipway_service_requests_in_flight",
        'slipway_service_requests_in_flight{service="m" 1',
        'slipway_service_requests_in_flight{service="m",namespace="n"} many',
        'slipway_service_requests_in_flight{service="m",namespace="n"} NaN',
        'slipway_service_requests_in_flight{service="m",namespace="n"} +Inf',
        'slipway_revision_first_byte_seconds_bucket{service="m",namespace="n",revision="a",le="x"} 1',
        "\x00\ufffd",
    ],
)
def test_what_is_no_sample_is_left_out_and_the_rest_is_read(line: str) -> None:
    found = measured(summed([f"{line}\n{gateway(4)}{line}"]), KEY, 1, 1)
    assert found.gateways == Load(4, 0, 1, 1)
    assert found.requests == 0


def test_labels_are_unescaped() -> None:
    text = 'a_b{x="1\\"2\\\\3\\n4",y=""} 5 1700000000000\n'
    assert list(samples(text, ("a_",))) == [("a_b", {"x": '1"2\\3\n4', "y": ""}, 5.0)]


@pytest.fixture
async def source() -> AsyncIterator[tuple[str, list[str]]]:
    """Something that answers, and the keys it was shown."""
    keys: list[str] = []

    async def metrics(request: web.Request) -> web.Response:
        keys.append(request.headers.get("authorization", ""))
        return web.Response(text="up 1\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", keys
    await runner.cleanup()


async def test_who_does_not_answer_is_left_out_and_engines_alone_are_shown_the_key(
    source: tuple[str, list[str]],
) -> None:
    address, keys = source
    scraper = Scraper(5.0, lambda: "secret")
    assert await scraper.read([address, "127.0.0.1:1"]) == ["up 1\n"]
    assert scraper.failures == 1
    await scraper.read([address], engines=True)
    assert keys == ["", "Bearer secret"]
    await scraper.close()
    assert len(await scraper.read([address])) == 1  # Who wins the lead again reads again.
    await scraper.close()
