"""The OpenAPI document's schemas of what administrative routes answer."""

from slipway.gateway.openapi_parts import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    nullable,
    record,
    ref,
)
from slipway.gateway.usage.buckets import Report
from slipway.gateway.usage.reports import GROUPS
from slipway.gateway.usage.rows import POINTS

_TIME: Schema = {"type": "integer", "description": "Seconds since 1970."}
_DATE: Schema = {"type": "string", "format": "date"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_DOLLARS: Schema = {
    "type": "string",
    "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
    "description": "US dollars, exact.",
}


def _array(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _strings(*names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, STRING)


def _integers(*names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, INTEGER)


_FILE = record(
    {
        "id": STRING,
        "object": {"const": "file"},
        "bytes": INTEGER,
        "created_at": _TIME,
        "expires_at": nullable(_TIME),
        "filename": STRING,
        "purpose": STRING,
        "status": {"const": "processed"},
        "status_details": {"type": "null"},
    }
)
_MISTAKE = record({"code": STRING, "message": STRING, "param": nullable(STRING), "line": nullable(INTEGER)})
_TIMES = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_BATCH = record(
    {
        **_strings("id", "endpoint", "input_file_id"),
        "object": {"const": "batch"},
        "model": nullable(STRING),
        "errors": nullable(record({"object": {"const": "list"}, "data": _array(_MISTAKE)})),
        "completion_window": {"const": "24h"},
        "status": {
            "enum": [
                "validating",
                "in_progress",
                "finalizing",
                "completed",
                "failed",
                "expired",
                "cancelling",
                "cancelled",
            ]
        },
        "output_file_id": nullable(STRING),
        "error_file_id": nullable(STRING),
        "created_at": _TIME,
        **{f"{name}_at": nullable(_TIME) for name in _TIMES},
        "request_counts": record(_integers("total", "completed", "failed")),
        "usage": record(
            _integers("input_tokens", "output_tokens", "total_tokens"),
            input_tokens_details=record(_integers("cached_tokens")),
            output_tokens_details=record(_integers("reasoning_tokens")),
        ),
        "metadata": nullable({"type": "object", "additionalProperties": STRING}),
        "progress": record(_integers("done", "total"), eta_seconds=nullable(INTEGER)),
    }
)
_AMOUNTS = record(
    {"n_epochs": INTEGER, "batch_size": INTEGER, "learning_rate_multiplier": NUMBER},
)
_METHOD = record({"hyperparameters": _AMOUNTS})
_PREFERENCE = record({"hyperparameters": record(_AMOUNTS["properties"], beta=NUMBER)})
_FINE_TUNING_JOB = record(
    {
        **_strings("id", "model", "organization_id", "training_file"),
        "object": {"const": "fine_tuning.job"},
        "status": {
            "enum": ["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
        },
        "validation_file": nullable(STRING),
        "fine_tuned_model": nullable(STRING),
        "created_at": _TIME,
        "finished_at": nullable(_TIME),
        "estimated_finish": nullable(_TIME),
        "result_files": _array(STRING),
        "trained_tokens": nullable(INTEGER),
        "integrations": _array(STRING),
        "seed": INTEGER,
        "hyperparameters": _AMOUNTS,
        "method": {
            "anyOf": [
                record({"type": {"const": "supervised"}, "supervised": _METHOD}),
                record({"type": {"const": "dpo"}, "dpo": _PREFERENCE}),
            ]
        },
        "error": nullable(record(_strings("code", "message"), param=nullable(STRING))),
        "metadata": nullable({"type": "object", "additionalProperties": STRING}),
    }
)
FINE_TUNING_EVENT = record(
    _strings("id", "message"),
    object={"const": "fine_tuning.job.event"},
    created_at=_TIME,
    level={"enum": ["info", "warn", "error"]},
    data={"type": "object"},
    type={"enum": ["message", "metrics"]},
)
FINE_TUNING_CHECKPOINT = record(
    _strings("id", "fine_tuning_job_id", "fine_tuned_model_checkpoint"),
    object={"const": "fine_tuning.job.checkpoint"},
    created_at=_TIME,
    step_number=INTEGER,
    metrics={"type": "object", "additionalProperties": NUMBER},
)
FINE_TUNING_REPORT = record(_strings("id", "title", "url"), object={"const": "fine_tuning.job.report"})
_MAY: dict[str, Schema] = {
    "role": {"enum": ["admin", "member"]},
    "models": _array(STRING),
    "limits": ref("Limits"),
    "priority": {"enum": ["high", "normal", "low"]},
}
_CALLER: dict[str, Schema] = {
    "name": STRING,
    "owner": STRING,
    **_MAY,
    "modelLimits": _array(ref("ModelLimits")),
    "expiresAt": nullable(_MOMENT),
    "disabled": BOOLEAN,
    "declared": {"type": "boolean", "description": "Whether it comes from an object or file."},
}
_KEY_FIELDS: dict[str, Schema] = {
    **_CALLER,
    "id": STRING,
    "object": {"const": "key"},
    "createdAt": nullable(_MOMENT),
    "createdBy": nullable(STRING),
    "maker": {
        **nullable(STRING),
        "description": "The member's key that it was made with, and that bounds it.",
    },
}
_SECRET: Schema = {"type": "string", "description": "The plain key; shown this once."}
ME = record(_CALLER, kind={"enum": ["key", "oidc"]})
SIGN_IN = record(
    {
        "oidc": nullable(
            record(
                _strings("issuer", "client_id", "authorization_endpoint", "token_endpoint"),
                scopes=_array(STRING),
            )
        )
    }
)
_KEY = record(_KEY_FIELDS)
MADE_KEY = record(_KEY_FIELDS, key=_SECRET)
ROTATED_KEY = record(_KEY_FIELDS, key=_SECRET, previousUntil=_MOMENT)
REVOKED_KEY = record({"name": STRING, "deleted": {"const": True}, "alsoDeleted": _array(STRING)})
_OWNER = record(
    {**_strings("name", "id"), "object": {"const": "owner"}, **_MAY, "subjects": _array(STRING)},
)
REMOVED_OWNER = record({"name": STRING, "deleted": {"const": True}})
_AUDIT_ENTRY = record(
    _strings("id", "actor", "actor_owner", "action", "target", "request_id"),
    object={"const": "audit.entry"},
    at=_MOMENT,
    details=nullable({"type": "object"}),
)
_AMOUNT: Schema = {"anyOf": [INTEGER, _DOLLARS]}
LIMITS = record(
    {
        "object": {"const": "list"},
        "data": _array(
            record(
                _strings("subject", "name", "limit"),
                model=nullable(STRING),
                amount=_AMOUNT,
                used=_AMOUNT,
                remaining=_AMOUNT,
                unit={"enum": ["usd", "tokens", "requests"]},
                resets_at=nullable(NUMBER),
            )
        ),
    }
)
_FEEDBACK = record(
    _strings("id", "request_id", "key", "owner"),
    object={"const": "feedback"},
    model=nullable(STRING),
    rating={"enum": ["up", "down"]},
    comment=nullable(STRING),
    expected=nullable(STRING),
    messages=nullable(_array(record(_strings("role", "content")))),
    consent=BOOLEAN,
    revision=nullable(STRING),
    created_at=_TIME,
)
_SUMS: dict[str, Schema] = {
    **_integers("requests", "failed", "prompt_tokens", "completion_tokens", "cached_tokens"),
    "cost_usd": _DOLLARS,
}
_ROW: Schema = {
    **record(_SUMS),
    "properties": {**_SUMS, **_strings(*GROUPS)},
    "description": "The sums of one group, whose names stand beside them.",
}
USAGE = record(
    {
        "object": {"const": "list"},
        "start": _DATE,
        "end": _DATE,
        "group_by": _array({"enum": list(GROUPS)}),
        "data": _array(_ROW),
        "total": record(_SUMS),
        "has_more": BOOLEAN,
        "next_offset": nullable(INTEGER),
    }
)
_ADDED_UP = record(_SUMS, count=INTEGER)
RECEIPT = record(
    {
        "object": {"const": "usage.receipt"},
        "first_day": _DATE,
        "total": record(_SUMS),
        "keys": _ADDED_UP,
        "owners": _ADDED_UP,
        "records": nullable(
            record(
                {
                    "first_day": _DATE,
                    "total": record(_SUMS),
                    "records": record(_SUMS),
                    "different_days": _array(_DATE),
                }
            )
        ),
        "gateways": _array(record(_SUMS, gateway=STRING, settled=BOOLEAN, waiting=INTEGER)),
    }
)
_STAGES = ("auth", "limits", "queue", "prefill", "decode", "engine", "total")
_USED: dict[str, Schema] = {
    **_strings("id", "request_id", "key", "owner", "model", "served_model", "service", "revision"),
    **_strings("endpoint", "route", "operation", "priority", "error", "gateway"),
    **_integers("status", "attempts", "prompt_tokens", "completion_tokens", "cached_tokens"),
    "object": {"const": "usage.record"},
    "started_at": _MOMENT,
    "batch": nullable(STRING),
    "stream": BOOLEAN,
    "trace_id": nullable(STRING),
    "estimated": BOOLEAN,
    "cost_usd": _DOLLARS,
    "points_us": record({name.removesuffix("_us"): nullable(INTEGER) for name in POINTS}),
    "timings": record({f"{stage}_ms": nullable(NUMBER) for stage in _STAGES}),
}
USED = record(_USED, earlier=_array(record(_USED)))
COMPONENTS = {
    "File": _FILE,
    "Batch": _BATCH,
    "FineTuningJob": _FINE_TUNING_JOB,
    "Key": _KEY,
    "Owner": _OWNER,
    "AuditEntry": _AUDIT_ENTRY,
    "Feedback": _FEEDBACK,
}


def buckets(report: Report, **result: Schema) -> Schema:
    """A page of OpenAI's reports; `result` has the fields beside those that it can be grouped by."""
    groups = {name: nullable(BOOLEAN if name == "batch" else STRING) for name in report.groups}
    bucket = record(
        {
            "object": {"const": "bucket"},
            "start_time": _TIME,
            "end_time": _TIME,
            "results": _array(record(groups | result)),
        }
    )
    return record(
        {
            "object": {"const": "page"},
            "data": _array(bucket),
            "has_more": BOOLEAN,
            "next_page": nullable(STRING),
        }
    )
