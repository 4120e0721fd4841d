"""The receipt: equal sums agree, and whatever differs is named with by how much."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.receipts import AMOUNTS, Scrape, lines_of, read_metrics
from slipway.objects.money import dollars, nano_dollars

METRICS = """# HELP slipway_gateway_info This gateway process
slipway_gateway_info{instance="0123456789ab",version="0.1.0"} 1.0
slipway_requests_total{model="m",route="/v1/chat/completions",status="200"} 7.0
slipway_requests_total{model="a \\"b\\" {c} d",route="/v1/chat/completions",status="404"} 2.0
slipway_requests_total{model="unknown",route="/v1/chat/completions",status="401"} 3.0
slipway_requests_created{model="m",route="/v1/chat/completions",status="200"} 1.7e+09
slipway_unauthenticated_requests_total 3.0
slipway_usage_records_total 8.0
slipway_usage_unrecorded_total 1.0
slipway_tokens_total{model="m",type="input"} 70.0
slipway_tokens_total{model="e",type="input"} 5.0
slipway_tokens_total{model="m",type="output"} 1.2345678901234e+13
slipway_cost_nano_dollars_total{model="m"} 1.5e+09
"""


def amounts(requests: int = 0, prompt: int = 0, completion: int = 0, cost: str = "0") -> dict[str, Any]:
    return dict(zip(AMOUNTS, (requests, prompt, completion, cost), strict=True))


def test_metrics_are_added_up_over_their_labels() -> None:
    assert read_metrics(METRICS) == Scrape("0123456789ab", 8, amounts(8, 75, 12345678901234, "1.5"), 1)
    assert read_metrics("slipway_requests_total 1.0\n") is None


USED = amounts(10, 100, 50, "1.25")


def a_receipt(**changed: Any) -> dict[str, Any]:
    return {
        "first_day": "2031-01-01",
        "total": USED,
        "keys": {"count": 3, **USED},
        "owners": {"count": 2, **USED},
        "records": {
            "first_day": "2031-01-01",
            "total": USED,
            "records": USED,
            "different_days": [],
        },
        "gateways": [{"gateway": "0123456789ab", "settled": True, "waiting": 0, **USED}],
        **changed,
    }


def faults(receipt: dict[str, Any], scrape: dict[str, Any] = USED, unrecorded: int = 0) -> list[str]:
    lines = lines_of(receipt, [Scrape("0123456789ab", 10, scrape, unrecorded)])
    return [f"{line.source}: {line.fault}" for line in lines if line.fault is not None]


def test_equal_sums_agree() -> None:
    assert faults(a_receipt()) == []


def test_every_difference_is_named() -> None:
    assert faults(a_receipt(keys={"count": 3, **amounts(9, 100, 50, "1.25")})) == [
        "sum of 3 keys: -1 requests"
    ]
    assert faults(a_receipt(owners={"count": 2, **amounts(10, 107, 50, "1.26")})) == [
        "sum of 2 owners: +7 prompt tokens, cost 1.26 instead of 1.25"
    ]
    assert faults(a_receipt(), amounts(11, 100, 50, "1.25")) == [
        "Prometheus at gateway 0123456789ab: +1 requests"
    ]
    assert faults(a_receipt(), amounts(10, 101, 50, "1.25"), unrecorded=4) == [
        "Prometheus at gateway 0123456789ab: +1 prompt tokens "
        "(4 requests left no record, as the journal was full)"
    ]


def test_records_may_agree_in_sum_and_differ_by_day() -> None:
    records = {
        "first_day": "2031-01-02",
        "total": USED,
        "records": USED,
        "different_days": ["2031-01-03", "2031-01-04"],
    }
    assert faults(a_receipt(records=records)) == [
        "records since 2031-01-02: other days, on 2031-01-03, 2031-01-04"
    ]


def test_what_waits_in_a_journal_is_no_agreement() -> None:
    waiting = {"gateway": "0123456789ab", "settled": False, "waiting": 3, **USED}
    assert faults(a_receipt(gateways=[waiting])) == [
        "Prometheus at gateway 0123456789ab: 3 records wait in its journal; is the database away?"
    ]


@given(st.integers(0, 10**18))
def test_dollars_are_exact(nano: int) -> None:
    assert nano_dollars(dollars(nano)) == nano
    assert not dollars(nano).endswith(".")
