"""What the OpenAPI document says of routes that FastAPI answers: files, batches, usage, keys, feedback, ….

Paths and parameters are as FastAPI has them, the rest is told here. A route that is not told of is a KeyError
when the gateway starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from slipway.gateway import openapi_conversations as conversations
from slipway.gateway import openapi_records as records
from slipway.gateway.apis.batches import BatchRequest
from slipway.gateway.apis.feedback import FeedbackRequest
from slipway.gateway.apis.files import PURPOSES
from slipway.gateway.apis.keys import Rotation
from slipway.gateway.finetuning.requests import FineTuningJobRequest
from slipway.gateway.openapi_parts import (
    ERRORS,
    ID,
    INTEGER,
    SECURED,
    STRING,
    Schema,
    error,
    in_json,
    listed,
    nullable,
    record,
    ref,
)
from slipway.gateway.usage.buckets import COMPLETIONS, COSTS, EMBEDDINGS
from slipway.objects import APIKeySpec, OwnerName, OwnerSpec
from slipway.objects.meta import Name

_MEANINGS = {
    **ERRORS,
    403: "The key may not do this.",
    404: "There is no such thing, or the key may not see it.",
    409: "The name is taken, or the thing comes from an object and is changed there.",
    503: "The database does not answer, or others change the same; `Retry-After` says when to try again.",
}
_ALWAYS = (400, 401, 431, 500, 503)
_CHANGES = (403, 404, 409)
_BODY = (408, 413)


def _bodies() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Schemas of the bodies of requests, and what those refer to."""
    models = (APIKeySpec, OwnerSpec, Rotation, BatchRequest, FeedbackRequest, FineTuningJobRequest)
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Schema] = found["$defs"]
    key, owner = schemas.pop("APIKeySpec"), schemas.pop("OwnerSpec")
    bodies = {
        "NewKey": _named(key, Name),
        "KeyChange": _changing(key),
        "NewOwner": _named(owner, OwnerName),
        "OwnerChange": _changing(owner),
    }
    return bodies, schemas


def _named(spec: Schema, name: Any) -> Schema:
    """The body that makes a thing; `name` is the type of its name."""
    fields = {**spec["properties"], "name": TypeAdapter(name).json_schema()}
    return {**spec, "required": ["name"], "properties": fields}


def _changing(spec: Schema) -> Schema:
    """The body that changes one: null gives a field its default."""
    fields = {
        name: part if {"type": "null"} in part.get("anyOf", ()) else nullable(part)
        for name, part in spec["properties"].items()
        if name != "name"
    }
    return {**spec, "properties": fields}


_FORM: Schema = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file", "purpose"],
            "properties": {
                "file": {"type": "string", "format": "binary"},
                "purpose": {"type": "string", "enum": list(PURPOSES)},
                "expires_after[anchor]": {"const": "created_at"},
                "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
            },
        }
    }
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """What FastAPI does not know of a route."""

    summary: str
    answer: Schema
    """Of JSON, by media type otherwise."""
    errors: tuple[int, ...] = ()
    """Statuses beside those that every route has."""
    body: str | None = None
    """Name of its schema, or of its media type where that is not JSON."""
    required: bool = True
    """Whether there must be one."""
    status: int = 200
    open: bool = False
    """Whether it needs no key."""
    others: Schema | None = None
    """Content of the answer in other media types."""


_RESULT: Schema = {"input_tokens": INTEGER, "num_model_requests": INTEGER}
_COMPLETIONS = records.buckets(
    COMPLETIONS,
    object={"const": "organization.usage.completions.result"},
    **_RESULT,
    output_tokens=INTEGER,
    input_cached_tokens=INTEGER,
    input_uncached_tokens=INTEGER,
)
_EMBEDDINGS = records.buckets(EMBEDDINGS, object={"const": "organization.usage.embeddings.result"}, **_RESULT)
_COSTS = records.buckets(
    COSTS,
    object={"const": "organization.costs.result"},
    amount=record({"value": {"type": "number"}, "currency": {"const": "usd"}}),
)
_DELETED_FILE = record({"id": STRING, "object": {"const": "file"}, "deleted": {"const": True}})
_RESPONSE = ref("Response")
_JOB = ref("FineTuningJob")
_OPERATIONS = {
    "POST /v1/files": _Operation("Upload a file", ref("File"), _BODY, "multipart/form-data"),
    "GET /v1/files": _Operation("List the owner's files", listed(ref("File")), (404,)),
    "GET /v1/files/{file}": _Operation("Show a file", ref("File"), (404,)),
    "DELETE /v1/files/{file}": _Operation("Delete a file", _DELETED_FILE, (404,)),
    "GET /v1/files/{file}/content": _Operation(
        "Read a file",
        {},
        (404,),
        others={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    ),
    "POST /v1/batches": _Operation("Make a batch", ref("Batch"), (404, *_BODY), "BatchRequest"),
    "GET /v1/batches": _Operation("List the owner's batches", listed(ref("Batch")), (404,)),
    "GET /v1/batches/{batch}": _Operation("Show a batch", ref("Batch"), (404,)),
    "POST /v1/batches/{batch}/cancel": _Operation("End a batch", ref("Batch"), (404,)),
    "POST /v1/fine_tuning/jobs": _Operation(
        "Fine-tune a model", _JOB, (404, 429, *_BODY), "FineTuningJobRequest"
    ),
    "GET /v1/fine_tuning/jobs": _Operation("List the owner's fine-tuning jobs", listed(_JOB), (404,)),
    "GET /v1/fine_tuning/jobs/{job}": _Operation("Show a fine-tuning job", _JOB, (404,)),
    "POST /v1/fine_tuning/jobs/{job}/cancel": _Operation("End a fine-tuning job", _JOB, (404,)),
    "POST /v1/fine_tuning/jobs/{job}/pause": _Operation("Stop a job at its next checkpoint", _JOB, (404,)),
    "POST /v1/fine_tuning/jobs/{job}/resume": _Operation("Go on with a paused job", _JOB, (404,)),
    "GET /v1/fine_tuning/jobs/{job}/events": _Operation(
        "What happened in a job, newest first", listed(records.FINE_TUNING_EVENT), (404,)
    ),
    "GET /v1/fine_tuning/jobs/{job}/checkpoints": _Operation(
        "The steps at which a job was judged, newest first", listed(records.FINE_TUNING_CHECKPOINT), (404,)
    ),
    "GET /v1/fine_tuning/jobs/{job}/reports": _Operation(
        "What a job's stages wrote for people", listed(records.FINE_TUNING_REPORT), (404,)
    ),
    "GET /v1/fine_tuning/jobs/{job}/reports/{name}": _Operation(
        "Read a job's report at a signed address",
        {},
        (404, 503),
        open=True,
        others={"text/html": {"schema": {"type": "string"}}, "text/plain": {"schema": {"type": "string"}}},
    ),
    "GET /v1/fine_tuning/jobs/{job}/examples/{part}.jsonl": _Operation(
        "Read a job's examples at a signed address, for training Jobs",
        {},
        (404, 503),
        open=True,
        others={"application/jsonl": {"schema": {"type": "string"}}},
    ),
    "GET /v1/responses/{response}": _Operation(
        "Show or follow a response", _RESPONSE, (404,), others=conversations.STREAMS["/v1/responses"]
    ),
    "DELETE /v1/responses/{response}": _Operation("Delete a response", conversations.DELETED, (404,)),
    "POST /v1/responses/{response}/cancel": _Operation("End a response in the background", _RESPONSE, (404,)),
    "GET /v1/responses/{response}/input_items": _Operation(
        "List what a response was made from", conversations.LIST, (404,)
    ),
    "GET /v1/usage": _Operation("Sums of usage by day, owner, key, model, …", records.USAGE, (403,)),
    "GET /v1/usage/receipt": _Operation(
        "The same usage added up along different ways; for admins", records.RECEIPT, (403,)
    ),
    "GET /v1/requests/{request_id}": _Operation("The record of a request", records.USED, (404,)),
    "GET /v1/organization/usage/completions": _Operation(
        "Usage of generating models in buckets of time; for admins", _COMPLETIONS, (403,)
    ),
    "GET /v1/organization/usage/embeddings": _Operation(
        "Usage of embeddings in buckets of time; for admins", _EMBEDDINGS, (403,)
    ),
    "GET /v1/organization/costs": _Operation("Costs of each day; for admins", _COSTS, (403,)),
    "GET /v1/me": _Operation("Who the caller is", records.ME),
    "GET /v1/sign-in": _Operation("How people sign in", records.SIGN_IN, open=True),
    "POST /v1/keys": _Operation("Make a key", records.MADE_KEY, (*_CHANGES, *_BODY), "NewKey", status=201),
    "GET /v1/keys": _Operation("List the keys that the caller may see", listed(ref("Key"))),
    "GET /v1/keys/{name}": _Operation("Show a key", ref("Key"), (404,)),
    "PATCH /v1/keys/{name}": _Operation("Change a key", ref("Key"), (*_CHANGES, *_BODY), "KeyChange"),
    "DELETE /v1/keys/{name}": _Operation(
        "Revoke a key, and those that members made with it", records.REVOKED_KEY, _CHANGES
    ),
    "POST /v1/keys/{name}/rotate": _Operation(
        "Give a key another secret", records.ROTATED_KEY, (*_CHANGES, *_BODY), "Rotation", required=False
    ),
    "GET /v1/owners": _Operation("List owners; for admins", listed(ref("Owner")), (403,)),
    "POST /v1/owners": _Operation(
        "Make an owner; for admins", ref("Owner"), (*_CHANGES, *_BODY), "NewOwner", status=201
    ),
    "GET /v1/owners/{name}": _Operation("Show an owner; for admins", ref("Owner"), (403, 404)),
    "PATCH /v1/owners/{name}": _Operation(
        "Change an owner; for admins", ref("Owner"), (*_CHANGES, *_BODY), "OwnerChange"
    ),
    "DELETE /v1/owners/{name}": _Operation("Remove an owner; for admins", records.REMOVED_OWNER, _CHANGES),
    "GET /v1/audit": _Operation(
        "Who changed what, and what was refused to whom; for admins", listed(ref("AuditEntry")), (403,)
    ),
    "GET /v1/limits": _Operation("How far the caller's limits are used", records.LIMITS),
    "POST /v1/feedback": _Operation("Rate an answer", ref("Feedback"), (404, *_BODY), "FeedbackRequest"),
    "GET /v1/feedback": _Operation("List feedback", listed(ref("Feedback"))),
    "GET /v1/feedback/export": _Operation(
        "Read all feedback that may be learned from, an object a line; for admins",
        {},
        (403,),
        others={"application/jsonl": {"schema": {"type": "string"}}},
    ),
}


def described(routers: Iterable[APIRouter]) -> tuple[Schema, Schema]:
    """Their paths, and the components that these refer to."""
    routes = [route for router in routers for route in router.routes]
    found: dict[str, Any] = get_openapi(title="", version="", routes=routes)
    bodies, parts = _bodies()
    paths = {
        path: {method: _described(f"{method.upper()} {path}", each) for method, each in methods.items()}
        for path, methods in found["paths"].items()
    }
    return paths, {**records.COMPONENTS, **parts, **bodies}


def _described(label: str, known: Schema) -> Schema:
    """An operation, from what FastAPI has of it and what is told here."""
    told = _OPERATIONS[label]
    content = (in_json(told.answer) if told.answer else {}) | (told.others or {})
    errors = sorted({*_ALWAYS, *told.errors} - ({401, 503} if told.open else set()))
    operation: Schema = {
        "summary": told.summary,
        "security": [] if told.open else SECURED,
        "parameters": [_parameter(each) for each in known.get("parameters", ())],
        "responses": {
            str(told.status): {"description": "The answer.", "headers": ID, "content": content},
            **{str(status): error(status, meanings=_MEANINGS) for status in errors},
        },
    }
    if told.body is not None:
        form = told.body == "multipart/form-data"
        operation["requestBody"] = {
            "required": told.required,
            "content": _FORM if form else in_json(ref(told.body)),
        }
    return operation


def _parameter(known: Schema) -> Schema:
    """A parameter as it can be written: there is no null in a path or a query."""
    schema = {name: value for name, value in known["schema"].items() if name != "title"}
    choices = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
    schema |= choices[0] if choices else {}
    if known["in"] == "path":
        schema["minLength"] = 1
    return {**known, "schema": schema}
