"""Durations, quantities and decimals: what is taken, and what it is worth."""

from decimal import Decimal

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from slipway.objects.resources import Resources
from slipway.objects.scalars import Duration, Factor, Fraction, Number, Pause, Quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("30s", 30), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("1h5s", 3605), ("2m1s", 121)],
)
def test_a_duration_is_so_many_seconds(text: str, seconds: int) -> None:
    assert Duration.of(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "30", "5 m", "1d", "-5s", "1s1m", "1.5h", "manual", "5m\n", "s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no Duration"):
        Duration.of(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


def test_a_pause_ends_by_time_or_by_hand() -> None:
    assert Pause.of("5m").seconds == 300
    assert Pause.of("manual").seconds is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", "2"), ("500m", "0.5"), ("1.5", "1.5"), ("3k", "3000"), ("1M", "1000000"), ("1Ki", "1024"),
        ("24Gi", "25769803776"), ("1Ei", str(1024**6)), ("2E", "2000000000000000000"),
    ],
)  # fmt: skip
def test_a_quantity_is_worth_what_kubernetes_says(text: str, number: str) -> None:
    assert Quantity.of(text).number == Decimal(number)


def test_a_quantity_may_be_a_whole_number_and_is_written_as_text() -> None:
    made = Resources.model_validate_json('{"limits": {"cpu": 2, "memory": "24Gi"}}', strict=True)
    assert made.limits == {"cpu": "2", "memory": "24Gi"}
    assert yaml.safe_dump(made.model_dump()["limits"]) == "cpu: '2'\nmemory: 24Gi\n"


@pytest.mark.parametrize("value", ["0.5", "true", '"-1"', '"1 Gi"', '"1e3"', '"Gi"'])
def test_no_quantity(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_json(value, strict=True)


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (Fraction, ["0", "0.05", "1", "1.0"], ["1.1", "-0.1", ".5", "5%", "1e-2"]),
        (Factor, ["1", "1.5", "10"], ["0.9", "0", "-1", "01"]),
        (Number, ["0", "-1.5", "2e-4", "1E+3"], ["", "1,5", "e4", "NaN", "inf"]),
    ],
)
def test_decimals_are_text(form: type[Fraction], good: list[str], bad: list[str]) -> None:
    assert [form.of(text).number for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(ValueError, match="is no"):
            form.of(text)
