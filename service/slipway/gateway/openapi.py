"""The OpenAPI document, made from the tables that check requests, so it cannot say anything else."""

from collections.abc import Iterable, Mapping
from typing import get_args

from fastapi import APIRouter

from slipway.gateway import openapi_administration as administration
from slipway.gateway import openapi_conversations as conversations
from slipway.gateway.bounds import CHAT_MESSAGE
from slipway.gateway.dialects.anthropic import ANTHROPIC
from slipway.gateway.openapi_parts import AGAIN, ID, SECURED, Schema, error, in_json, ref
from slipway.gateway.routes import Route
from slipway.objects.states import State

_USAGE: Schema = {
    "type": "object",
    "required": ["prompt_tokens", "total_tokens"],
    "properties": {
        "prompt_tokens": {"type": "integer"},
        "completion_tokens": {"type": ["integer", "null"]},
        "total_tokens": {"type": "integer"},
    },
}


def _completion(kind: str) -> Schema:
    return {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": kind},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "object", "required": ["index"]}},
            "usage": {"anyOf": [ref("Usage"), {"type": "null"}]},
        },
    }


def _judged(item: Schema) -> Schema:
    """A list of judgements, one for each text or pair."""
    return {
        "type": "object",
        "required": ["id", "object", "created", "model", "data", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "list"},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "data": {
                "type": "array",
                "items": {"type": "object", "required": list(item), "properties": item},
            },
            "usage": ref("Usage"),
        },
    }


_ANSWERS: dict[str, Schema] = {
    **conversations.ANSWERS,
    "/v1/chat/completions": _completion("chat.completion"),
    "/v1/completions": _completion("text_completion"),
    "/v1/embeddings": {
        "type": "object",
        "required": ["object", "data", "model", "usage"],
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "object", "embedding"],
                    "properties": {
                        "index": {"type": "integer"},
                        "object": {"const": "embedding"},
                        "embedding": {
                            "anyOf": [
                                {"type": "array", "items": {"type": "number"}},
                                {"type": "string", "description": "Base64 of little-endian float32."},
                            ]
                        },
                    },
                },
            },
            "usage": ref("Usage"),
        },
    },
    "/v1/score": _judged(
        {"index": {"type": "integer"}, "object": {"const": "score"}, "score": {"type": "number"}}
    ),
    "/v1/rerank": {
        "type": "object",
        "required": ["id", "model", "usage", "results"],
        "properties": {
            "id": {"type": "string"},
            "model": {"type": "string"},
            "usage": ref("Usage"),
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "document", "relevance_score"],
                    "properties": {
                        "index": {"type": "integer"},
                        "document": {"type": "object", "properties": {"text": {"type": "string"}}},
                        "relevance_score": {"type": "number"},
                    },
                },
            },
        },
    },
    "/v1/classify": _judged({"index": {"type": "integer"}}),
    "/tokenize": {
        "type": "object",
        "required": ["count", "max_model_len", "tokens"],
        "properties": {
            "count": {"type": "integer"},
            "max_model_len": {"type": "integer"},
            "tokens": {"type": "array", "items": {"type": "integer"}},
            "token_strs": {"type": ["array", "null"], "items": {"type": "string"}},
        },
    },
    "/detokenize": {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
}

_STATUS: Schema = {
    "type": "object",
    "required": ["reason", "message", "replicas", "ready_replicas", "phase", "revisions"],
    "properties": {
        "reason": {"type": "string", "description": "One CamelCase word."},
        "message": {"type": "string"},
        "replicas": {"type": "integer", "description": "Engines wanted."},
        "ready_replicas": {"type": "integer"},
        "phase": {"type": ["string", "null"], "description": "Of the rollout; null where there is none."},
        "revisions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["revision", "role", "weight", "ready"],
                "properties": {
                    "revision": {"type": "string"},
                    "role": {"type": ["string", "null"], "enum": ["stable", "canary", None]},
                    "weight": {
                        "type": ["integer", "null"],
                        "description": "Percent of the requests; null where revisions have no share.",
                    },
                    "ready": {"type": "integer", "description": "Engines of it that can serve."},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}

_MODEL: Schema = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by", "parent", "task", "ready", "state"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "parent": {"type": ["string", "null"], "description": "For an adapter: the base model's name."},
        "task": {"type": "string", "enum": ["generate", "embed", "classify", "score"]},
        "ready": {"type": "boolean", "description": "Whether an engine serves it now."},
        "reason": {
            "type": ["string", "null"],
            "description": "Why no engine serves it; for admins the cause, and what says more.",
        },
        "state": {
            "type": ["string", "null"],
            "enum": [*get_args(State), None],
            "description": "Of its service; null where nobody says, as for a route.",
        },
        "status": {"anyOf": [_STATUS, {"type": "null"}], "description": "Of its service, for admins."},
        "type": {"const": "model"},
        "display_name": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
}

_READINESS: Schema = {
    "type": "object",
    "required": ["ready", "reason", "models"],
    "properties": {
        "ready": {"type": "boolean"},
        "reason": {"type": ["string", "null"]},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "ready", "reason"],
                "properties": {
                    "name": {"type": "string"},
                    "ready": {"type": "boolean"},
                    "reason": {"type": ["string", "null"]},
                },
            },
        },
    },
}

_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "description": "A sentence for people, with the mend."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The request field at fault."},
                "code": {"type": "string", "description": "For programs; stable."},
            },
        }
    },
}


def _request(route: Route) -> Schema:
    properties = {
        name: rule.schema for name, rule in route.table.items() if rule.schema.get("type") != "null"
    }
    schema: Schema = {
        "type": "object",
        "required": list(route.required),
        "properties": properties,
        "additionalProperties": False,
    }
    if route.either:
        schema["oneOf"] = [{"required": list(group)} for group in route.either]
    return schema


_STREAM = conversations.events(
    "With `stream: true`: a chunk of the answer, and at the end `[DONE]`. A stream that fails ends with an "
    "error and without `[DONE]`.",
    {"type": "object", "anyOf": [{"required": ["choices"]}, {"required": ["error"]}]},
    named=False,
    end="[DONE]",
)


def _relayed(route: Route) -> Schema:
    content = in_json(_ANSWERS[route.path])
    if route.streams:
        content |= conversations.STREAMS.get(route.path, _STREAM)
    shape = "AnthropicError" if route.dialect is ANTHROPIC else "Error"
    codes = (400, 401, 404, 408, 413, 429, 431, 500, 502, 503, 504)
    answers: Schema = {"200": {"description": "The answer.", "headers": ID, "content": content}}
    return {
        "post": {
            "summary": route.summary,
            "operationId": route.path.strip("/").replace("/", "_"),
            "security": SECURED,
            "requestBody": {"required": True, "content": in_json(_request(route))},
            "responses": answers | {str(code): error(code, shape) for code in codes},
        }
    }


def _get(summary: str, answer: Schema, *errors: int, secured: bool = False) -> Schema:
    operation: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "headers": ID, "content": answer},
            **{str(code): error(code) for code in (*errors, 400, 431, 500)},
        },
    }
    operation["security"] = SECURED if secured else []
    return operation


def document(routes: Mapping[str, Route], routers: Iterable[APIRouter], version: str) -> Schema:
    """The whole document, OpenAPI 3.2, whose `itemSchema` describes one event of a stream."""
    paths: Schema = {route.path: _relayed(route) for route in routes.values()}
    models = {
        "type": "object",
        "required": ["object", "data"],
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}},
    }
    paths["/v1/models"] = {
        "get": _get("List the models this key may call", in_json(models), 401, secured=True)
    }
    paths["/v1/models/{name}"] = {
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ],
        "get": _get("Show one model", in_json(ref("Model")), 401, 404, secured=True),
    }
    administered, components = administration.described(routers)
    paths |= administered
    live = {"type": "object", "required": ["live"], "properties": {"live": {"const": True}}}
    paths["/livez"] = {"get": _get("Whether the process lives", in_json(live))}
    ready = _get("Whether requests can be answered, and if not, why", in_json(ref("Readiness")))
    ready["responses"]["503"] = {
        "description": "No model can be called now.",
        "headers": {**ID, **AGAIN},
        "content": in_json(ref("Readiness")),
    }
    paths["/readyz"] = {"get": ready}
    paths["/metrics"] = {"get": _get("Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}})}
    paths["/openapi.json"] = {"get": _get("This document", in_json({"type": "object"}))}
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Slipway",
            "version": version,
            "description": "OpenAI-compatible API of the models served here.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": _ERROR,
                "Usage": _USAGE,
                "Model": _MODEL,
                "Readiness": _READINESS,
                "ChatMessage": CHAT_MESSAGE,
                **conversations.COMPONENTS,
                **components,
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
