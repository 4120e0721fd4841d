"""What a FineTune's status means for its job: pure."""

import re
from typing import Any

import orjson

from slipway.gateway.errors import passable
from slipway.gateway.finetuning.store import Job
from slipway.objects import FineTuneStatus

SETTLE_US = 60_000_000
"""Microseconds that a finished job waits, at most, until the gateway knows its model."""
_APART_US = 5_000_000
"""Microseconds by which an estimate must differ to be news."""
_WAITING = ("Pending", "Suspended")
_UNTOLD = "The run failed; those who run it can see why."


def error(code: str, message: str, param: str | None = None) -> str:
    """A job's `error`, as it is kept."""
    return orjson.dumps({"code": code, "message": message, "param": param}).decode()


def seen(row: Job, status: FineTuneStatus | None, now_us: int, *, known: bool) -> dict[str, Any]:
    """What to write down of a job whose FineTune stands so; `known`: its model can be called.

    Empty: nothing is new.
    """
    ended_us = now_us if status is None or status.completed_at is None else _us(status.completed_at)
    phase = "" if status is None else status.phase or "Pending"
    if row.wanted == "cancel":
        return {"settled": True} if phase in ("", "Cancelled", "Succeeded", "Failed") else {}
    end: dict[str, Any] = {"finished_us": ended_us, "estimated_us": None, "settled": True}
    if status is None:
        return end | {
            "status": "failed",
            "error": error("fine_tune_gone", "The run of this job was removed."),
        }
    match phase:
        case "Cancelled":
            return end | {"status": "cancelled"}
        case "Failed":
            return end | {"status": "failed", "error": _failure(status)}
        case "Succeeded":
            if not known and now_us - ended_us < SETTLE_US:
                return {}
            return end | {"status": "succeeded", "trained_tokens": _tokens(status)}
    return _under_way(row, status, phase, now_us)


def _under_way(row: Job, status: FineTuneStatus, phase: str, now_us: int) -> dict[str, Any]:
    began = None if status.started_at is None else _us(status.started_at)
    if began is None and phase not in _WAITING:
        began = now_us
    state = "running" if phase not in _WAITING else row.status
    if phase == "Pending":
        state = "queued"
    if row.wanted == "pause":
        state = "paused"
    values: dict[str, Any] = {"status": state}
    if row.started_us is None:
        values["started_us"] = began
    eta = status.progress.eta_seconds if status.progress is not None and state == "running" else None
    estimate = None if eta is None else now_us + eta * 1_000_000
    there = row.estimated_us
    if estimate is None or there is None or abs(estimate - there) > _APART_US:
        values["estimated_us"] = estimate
    return {name: value for name, value in values.items() if getattr(row, name) != value}


def _failure(status: FineTuneStatus) -> str:
    failed = next((stage for stage in status.stages if stage.state == "Failed"), None)
    if failed is None:
        told = next((each for each in status.conditions if each.type == "Degraded"), None)
        reason, message = (told.reason, told.message) if told is not None else ("", "")
        return error(_snake(reason) or "failed", passable(message, _UNTOLD))
    param = "training_file" if failed.name == "prepare" else None
    return error(_snake(failed.reason) or f"{failed.name}_failed", passable(failed.message, _UNTOLD), param)


def _snake(reason: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", reason).lower()


def _tokens(status: FineTuneStatus) -> int | None:
    text = status.metrics.get("tokens", "")
    return int(text) if text.isdigit() else None


def _us(moment: Any) -> int:
    return int(moment.timestamp() * 1_000_000)
