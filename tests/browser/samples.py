"""What a gateway that is in use answers, for the pages that show it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from browser.scripted import Call, Reply, Script

NOW = int(time.time())
ADMIN = {
    "kind": "key",
    "name": "ops",
    "owner": "platform",
    "role": "admin",
    "models": ["*"],
    "expiresAt": None,
}
MEMBER = {**ADMIN, "name": "team-search", "owner": "search", "role": "member"}
KEY: dict[str, Any] = {
    "name": "team-search",
    "owner": "search",
    "role": "member",
    "models": ["pilot-*"],
    "limits": {"requestsPerMinute": 120, "budgetUSD": {"month": "50"}},
    "priority": "normal",
    "expiresAt": None,
    "disabled": False,
    "declared": False,
}
OWNER: dict[str, Any] = {
    "name": "search",
    "role": "member",
    "models": ["*"],
    "limits": {"tokensPerDay": 2_000_000},
    "priority": "normal",
    "subjects": ["ann@example.com"],
}


def days(count: int) -> list[str]:
    """The last days as the API writes them, the oldest first."""
    today = datetime.now(UTC).date()
    return [(today - timedelta(days=back)).isoformat() for back in reversed(range(count))]


def usage_rows(group: str, start: str = "") -> list[dict[str, Any]]:
    """Two groups that are used every other day."""
    rows = []
    for index, day in enumerate(days(90)):
        for place, name in enumerate((f"{group}-a", f"{group}-b")):
            if index % 2 == place % 2 and day >= start:
                tokens = 1000 * (index + 1) + place
                rows.append(
                    {
                        "day": day,
                        group: name,
                        "requests": index + 1,
                        "failed": place,
                        "prompt_tokens": tokens,
                        "completion_tokens": tokens // 2,
                        "cached_tokens": tokens // 10,
                        "cost_usd": f"{tokens / 1e6:.9f}",
                    }
                )
    return rows


def _usage(call: Call) -> Reply:
    group = call.query["group_by"].removeprefix("day,")
    return 200, listed(*usage_rows(group, call.query["start"]))


def listed(*rows: dict[str, Any], more: bool = False) -> dict[str, Any]:
    """A page of a list."""
    return {"object": "list", "data": list(rows), "has_more": more}


def level(
    limit: str, most: int | str, used: int | str, remaining: int | str, **fields: Any
) -> dict[str, Any]:
    """A level of a limit."""
    subject = {"subject": "key", "name": "team-search", "model": None}
    return {**subject, "limit": limit, "amount": most, "used": used, "remaining": remaining, **fields}


def levels() -> list[dict[str, Any]]:
    """Limits of every kind, as far used as they are named."""
    now = int(time.time())
    return [
        level("requests_per_minute", 120, 37, 83, resets_at=now + 40),
        level(
            "tokens_per_day", 2_000_000, 2_000_000, 0, resets_at=now + 7200, subject="owner", name="search"
        ),
        level("budget_month", "50", "41.5", "8.5", resets_at=now + 500_000),
        level("max_parallel", 8, 0, 8, resets_at=None, subject="model", model="pilot-large"),
    ]


BATCHES = [
    {
        "id": "batch_run",
        "status": "in_progress",
        "endpoint": "/v1/chat/completions",
        "created_at": NOW,
        "request_counts": {"total": 1200, "completed": 431, "failed": 2},
    },
    {
        "id": "batch_done",
        "status": "completed",
        "endpoint": "/v1/embeddings",
        "created_at": NOW - 90_000,
        "request_counts": {"total": 80, "completed": 78, "failed": 2},
        "output_file_id": "file-out",
        "error_file_id": "file-err",
    },
    {
        "id": "batch_bad",
        "status": "failed",
        "endpoint": "/v1/chat/completions",
        "created_at": NOW - 190_000,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "errors": {"data": [{"message": "Line 3 is not JSON.", "line": 3}]},
    },
]
JOBS: list[dict[str, Any]] = [
    {
        "id": "ftjob-run",
        "status": "running",
        "model": "pilot-small",
        "fine_tuned_model": None,
        "created_at": NOW - 400,
        "finished_at": None,
        "estimated_finish": NOW + 600,
        "trained_tokens": None,
        "error": None,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 8}},
        },
    },
    {
        "id": "ftjob-done",
        "status": "succeeded",
        "model": "pilot-small",
        "fine_tuned_model": "ft:pilot-small:search:tickets:0a1b2c3d",
        "created_at": NOW - 90_000,
        "finished_at": NOW - 86_000,
        "trained_tokens": 12_345,
        "error": None,
        "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "beta": 0.1}}},
    },
    {
        "id": "ftjob-bad",
        "status": "failed",
        "model": "pilot-large",
        "fine_tuned_model": None,
        "created_at": NOW - 190_000,
        "finished_at": NOW - 189_000,
        "error": {"code": "invalid_training_file", "message": "Line 3 is not JSON.", "param": None},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
    },
]


def job_events(steps: int) -> list[dict[str, Any]]:
    """What the API says of a job after so many steps, the newest first."""
    metrics = [
        {
            "id": f"ftevent-m{step}",
            "type": "metrics",
            "level": "info",
            "created_at": NOW - 300 + step,
            "message": f"Step {step}: train loss={2 / step:.4g}",
            "data": {"step": step, "train_loss": 2 / step}
            | ({"valid_loss": 2.1 / step} if step % 5 == 0 else {}),
        }
        for step in range(steps, 0, -1)
    ]
    begun = {
        "id": "ftevent-j4",
        "type": "message",
        "level": "info",
        "created_at": NOW - 350,
        "message": "Fine-tuning job started",
        "data": {},
    }
    warned = {**begun, "id": "ftevent-e1", "level": "warn", "message": "Memory is short: micro-batches of 4."}
    return [*metrics, warned, begun]


CHECKPOINTS: list[dict[str, Any]] = [
    {
        "id": f"ftckpt-{step}",
        "step_number": step,
        "created_at": NOW - 300 + step,
        "metrics": {"valid_loss": 2.1 / step},
    }
    for step in (10, 5)
]
REPORTS: list[dict[str, Any]] = [
    {"id": "data", "title": "The data", "url": "v1/fine_tuning/jobs/ftjob-run/reports/data?expires=1"},
    {"id": "card", "title": "The model card", "url": "v1/fine_tuning/jobs/ftjob-run/reports/card?expires=1"},
]
FEEDBACK = {
    "id": "feedback_1",
    "request_id": "req-9",
    "rating": "down",
    "comment": "Not Sydney.",
    "expected": "Canberra",
    "messages": [{"role": "user", "content": "What is the capital of Australia?"}],
    "model": "pilot-small",
    "owner": "search",
    "key": "team-search",
    "created_at": NOW,
}
AUDIT = {
    "id": "audit_1",
    "at": "2026-11-24T09:12:00Z",
    "actor": "oidc:ann@example.com",
    "actor_owner": "platform",
    "action": "key.rotate",
    "target": "team-search",
    "details": {"graceSeconds": 86_400},
}


def in_use(script: Script, me: dict[str, Any] = ADMIN) -> None:
    """Makes the scripted gateway one that is in use; its key is `sk-ops`."""
    script.key = "sk-ops"
    script.models[1] |= {"ready": False, "reason": "its engine is starting."}
    script.replies |= {
        "GET /v1/me": (200, me),
        "GET /v1/limits": lambda call: (200, listed(*levels())),
        "GET /v1/usage": _usage,
        "GET /v1/keys": (
            200,
            listed({**KEY, "name": "ops", "role": "admin"}, KEY, {**KEY, "name": "local", "declared": True}),
        ),
        "GET /v1/owners": (200, listed(OWNER)),
        "GET /v1/batches": (200, listed(*BATCHES)),
        "GET /v1/fine_tuning/jobs": (200, listed(*JOBS)),
        "GET /v1/fine_tuning/jobs/ftjob-run": (200, JOBS[0]),
        "GET /v1/fine_tuning/jobs/ftjob-run/reports": (200, listed(*REPORTS)),
        "GET /v1/fine_tuning/jobs/ftjob-run/events": (200, listed(*job_events(12))),
        "GET /v1/fine_tuning/jobs/ftjob-run/checkpoints": (200, listed(*CHECKPOINTS)),
        "GET /v1/feedback": (200, listed(FEEDBACK)),
        "GET /v1/audit": (200, listed(AUDIT)),
        "POST /v1/feedback": (200, {}),
    }
