"""The usage receipt: does everything that counts requests, tokens and money come to the same sums? Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

AMOUNTS = ("requests", "prompt_tokens", "completion_tokens", "cost_usd")
"""What is compared; money as a decimal string of dollars."""
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Scrape:
    """One gateway process as its metrics show it at one moment."""

    instance: str
    closed: int
    """Requests that its journal had taken by then."""
    amounts: Mapping[str, Any]
    unrecorded: int


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the receipt."""

    source: str
    amounts: Mapping[str, Any]
    fault: str | None = None
    """What differs, None if nothing does."""
    baseline: bool = False
    """Others are compared with it."""


def read_metrics(text: str) -> Scrape | None:
    """What Prometheus' text says; None for a gateway that keeps no usage records."""
    from slipway.objects.money import dollars

    instance = ""
    totals: dict[str, int] = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name == "slipway_gateway_info":
            instance = dict(_LABEL.findall(labels)).get("instance", "")
        elif name == "slipway_tokens_total":
            kind = dict(_LABEL.findall(labels)).get("type", "")
            totals[f"{name}/{kind}"] = totals.get(f"{name}/{kind}", 0) + int(float(value))
        elif name.startswith("slipway_") and name.endswith("_total"):
            totals[name] = totals.get(name, 0) + int(float(value))
    if not instance:
        return None

    def total(name: str) -> int:
        return totals.get(f"slipway_{name}_total", 0)

    unrecorded = total("usage_unrecorded")
    requests = total("requests") - total("unauthenticated_requests") - unrecorded
    amounts = {
        "requests": requests,
        "prompt_tokens": totals.get("slipway_tokens_total/input", 0),
        "completion_tokens": totals.get("slipway_tokens_total/output", 0),
        "cost_usd": dollars(total("cost_nano_dollars")),
    }
    return Scrape(instance, total("usage_records"), amounts, unrecorded)


def lines_of(receipt: Mapping[str, Any], scrapes: Sequence[Scrape]) -> list[Line]:
    """The receipt's rows, each compared with the one it must be equal to."""
    total = receipt["total"]
    lines = [Line(f"total since {receipt['first_day']}", total, baseline=True)]
    for name in ("keys", "owners"):
        part = receipt[name]
        lines.append(Line(f"sum of {part['count']} {name}", part, difference(part, total)))
    records = receipt["records"]
    if records is not None:
        shown, days = records["records"], records["different_days"]
        fault = difference(shown, records["total"])
        if days and fault is None:
            fault = "other days"
        if days:
            fault = f"{fault}, on {', '.join(days[:5])}{' …' if len(days) > 5 else ''}"
        if records["first_day"] != receipt["first_day"]:
            lines.append(Line(f"total since {records['first_day']}", records["total"], baseline=True))
        lines.append(Line(f"records since {records['first_day']}", shown, fault))
    for recorded, scrape in zip(receipt["gateways"], scrapes, strict=True):
        name = recorded["gateway"]
        lines.append(Line(f"recorded of gateway {name}", recorded, baseline=True))
        fault = difference(scrape.amounts, recorded)
        if not recorded["settled"]:
            fault = f"{recorded['waiting']} records wait in its journal; is the database away?"
        elif fault is not None and scrape.unrecorded:
            fault += f" ({scrape.unrecorded} requests left no record, as the journal was full)"
        lines.append(Line(f"Prometheus at gateway {name}", scrape.amounts, fault))
    return lines


def difference(amounts: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """What differs, by how much; None if nothing does."""
    found = []
    for name in AMOUNTS:
        if amounts[name] == expected[name]:
            continue
        if name == "cost_usd":
            found.append(f"cost {amounts[name]} instead of {expected[name]}")
        else:
            found.append(f"{amounts[name] - expected[name]:+d} {name.replace('_', ' ')}")
    return ", ".join(found) or None
