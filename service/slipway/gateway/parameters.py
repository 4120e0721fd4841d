"""Every field of every relayed request: honoured, passed on, or refused by name; none dropped in silence.

The tables follow openai-python 3 and vLLM 0.32. vLLM accepts unknown fields and says nothing, and leaves
some known ones without effect; here those are refused, or can only hold the value that changes nothing.
Labels without effect on the answer (`user`, `safety_identifier`, `prompt_cache_key`) end here.
"""

from collections.abc import Mapping
from typing import Any

from slipway.gateway import bounds
from slipway.gateway.errors import APIError, invalid_request
from slipway.gateway.rules import (
    Rule,
    array,
    boolean,
    either,
    ignored,
    integer,
    mapping,
    number,
    one_of,
    only,
    refused,
    text,
)
from slipway.gateway.settings import GatewaySettings

Table = Mapping[str, Rule]

INT64 = 2**63 - 1
_OPERATOR = "is set by those who run the server, not by a request"
_REMOVED = "was removed from vLLM; use `structured_outputs`"
_NO_EFFECT = "has no effect here and is not accepted"
CACHE_SALT = "Keeps this request's prefix cache apart from others'."


_OPERATORS_FIELDS = (
    "api_base",
    "api_key",
    "base_url",
    "ec_transfer_params",
    "kv_transfer_params",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "prompt_embeds",
    "request_id",
    "routed_experts_prompt_start",
    "session_id",
    "vllm_xargs",
)
_REMOVED_FIELDS = (
    "guided_choice",
    "guided_decoding_backend",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "guided_whitespace_pattern",
)


def everywhere() -> dict[str, Rule]:
    """Fields that mean the same on every route."""
    return {
        "model": text(253, "The served name, from GET /v1/models.", shortest=1),
        "user": ignored(text(512, "A label for the end user; without effect.")),
    }


def operators_fields() -> dict[str, Rule]:
    """vLLM's fields that choose peers, files, code or other people's place in the queue."""
    return {name: refused(_OPERATOR) for name in _OPERATORS_FIELDS} | {
        "priority": only(0, "can only be 0: requests are taken as they come"),
        "chat_template": refused("is the model's own and cannot be replaced by a request"),
    }


def _sampling(settings: GatewaySettings) -> dict[str, Rule]:
    tokens = integer(1, settings.max_completion_tokens, "Most tokens of the answer.")
    return {
        "frequency_penalty": number(-2, 2),
        "presence_penalty": number(-2, 2),
        "temperature": number(0, 2, "0 takes the likeliest token; higher is more varied."),
        "top_p": number(0.0000001, 1),
        "max_tokens": tokens,
        "n": integer(1, settings.max_choices, "Answers to generate."),
        "seed": integer(-INT64, INT64),
        "stop": bounds.stop(),
        "stream": boolean("Send the answer as it is made, as server-sent events."),
        "stream_options": mapping({"include_usage": boolean(), "continuous_usage_stats": boolean()}),
        "logit_bias": bounds.logit_bias(),
        "response_format": bounds.response_format(settings),
        "structured_outputs": bounds.structured_outputs(settings),
        # vLLM's own.
        "top_k": integer(-1, 1_000_000),
        "min_p": number(0, 1),
        "repetition_penalty": number(0.01, 10),
        "length_penalty": number(-10, 10),
        "use_beam_search": boolean(),
        "stop_token_ids": array(bounds.TOKEN, 64),
        "include_stop_str_in_output": boolean(),
        "ignore_eos": boolean(),
        "min_tokens": integer(0, settings.max_completion_tokens),
        "skip_special_tokens": boolean(),
        "spaces_between_special_tokens": boolean(),
        "truncate_prompt_tokens": integer(-1, INT64),
        "truncation_side": one_of("left", "right"),
        "prompt_logprobs": integer(0, 20),
        "logprob_token_ids": array(bounds.TOKEN, 128),
        "allowed_token_ids": array(bounds.TOKEN, 1024, least=1),
        "bad_words": array(text(128, shortest=1), 64),
        "add_special_tokens": boolean(),
        "return_tokens_as_token_ids": boolean(),
        "return_token_ids": boolean(),
        "thinking_token_budget": integer(-1, settings.max_completion_tokens),
        "repetition_detection": mapping(
            {
                "max_pattern_size": integer(0, 256),
                "min_pattern_size": integer(0, 256),
                "min_count": integer(0, 1000),
            }
        ),
        "stream_interval": integer(1, 1000),
        "cache_salt": text(1024, CACHE_SALT, shortest=1),
        "watermarking": refused(_OPERATOR),
        # Ignored by vLLM on these routes.
        "return_token_offsets": only(False, _NO_EFFECT),
        "mm_payload": refused(_NO_EFFECT),
        "return_mm_kwargs": refused(_NO_EFFECT),
        "metadata": refused("belongs to stored completions, which this server does not keep"),
        "service_tier": one_of("auto", "default", note="This server has one tier.", forward=False),
        "store": only(False, "can only be false: this server keeps no completions"),
        **{name: refused(_REMOVED) for name in _REMOVED_FIELDS},
    }


def chat_completions(settings: GatewaySettings) -> Table:
    """POST /v1/chat/completions."""
    return {
        **everywhere(),
        **operators_fields(),
        **_sampling(settings),
        "messages": bounds.messages(settings),
        "max_completion_tokens": integer(1, settings.max_completion_tokens, "Most tokens of the answer."),
        "logprobs": boolean(),
        "top_logprobs": integer(0, 20),
        "tools": bounds.tools(settings),
        "tool_choice": bounds.tool_choice(),
        "parallel_tool_calls": boolean(),
        "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        "include_reasoning": boolean(),
        "echo": boolean(),
        "add_generation_prompt": boolean(),
        "continue_final_message": boolean(),
        "documents": array(mapping({"title": text(4096), "text": text(1_048_576)}), 64),
        "chat_template_kwargs": bounds.template_kwargs(),
        "return_prompt_text": boolean(),
        "safety_identifier": ignored(text(512, "A label for the end user; without effect.")),
        "prompt_cache_key": ignored(text(512, "A label; equal prefixes are cached without it.")),
        "prompt_cache_retention": one_of("in_memory", forward=False),
        "prompt_cache_options": refused("is not offered: equal prefixes are cached by themselves"),
        "modalities": Rule(
            lambda value: None if value == ["text"] else ("", "can only be [`text`]"),
            {"type": "array", "items": {"const": "text"}, "minItems": 1, "maxItems": 1},
            forward=False,
        ),
        "verbosity": one_of("medium", note="Has no effect on these models.", forward=False),
        "audio": refused("is not offered: answers are text"),
        "prediction": refused("is not offered"),
        "web_search_options": refused("is not offered: this server fetches nothing"),
        "moderation": refused("is not offered"),
        "functions": refused("is deprecated; use `tools`"),
        "function_call": refused("is deprecated; use `tool_choice`"),
    }


def completions(settings: GatewaySettings) -> Table:
    """POST /v1/completions."""
    prompt = either(
        f"must be a string, a list of at most {settings.max_inputs} strings, or token ids",
        text(settings.max_body),
        array(text(settings.max_body), settings.max_inputs, least=1),
        array(bounds.TOKEN, 1_000_000, least=1),
        array(array(bounds.TOKEN, 1_000_000, least=1), settings.max_inputs, least=1),
    )
    return {
        **everywhere(),
        **operators_fields(),
        **_sampling(settings),
        "prompt": prompt,
        "echo": boolean(),
        "logprobs": integer(0, 20),
        "best_of": only(1, "can only be 1: the engine returns every answer it makes, use `n`"),
        "suffix": refused("is not offered by the engine"),
    }


def inputs(settings: GatewaySettings) -> Rule:
    """What is to be embedded or labelled: a text or several, or their token ids."""
    return either(
        f"must be a string, a list of at most {settings.max_inputs} strings, or token ids",
        text(settings.max_body, shortest=1),
        array(text(settings.max_body, shortest=1), settings.max_inputs, least=1),
        array(bounds.TOKEN, 1_000_000, least=1),
        array(array(bounds.TOKEN, 1_000_000, least=1), settings.max_inputs, least=1),
    )


def embeddings(settings: GatewaySettings) -> Table:
    """POST /v1/embeddings."""
    return {
        **everywhere(),
        **operators_fields(),
        "input": inputs(settings),
        "dimensions": integer(1, 65_536, "Only models trained for it can shorten their vectors."),
        "encoding_format": one_of("float", "base64"),
        "truncate_prompt_tokens": integer(-1, INT64),
        "truncation_side": one_of("left", "right"),
        "add_special_tokens": boolean(),
        "use_activation": boolean(),
        "cache_salt": text(1024, CACHE_SALT, shortest=1),
        "messages": refused("is not offered here; use `input`"),
        "normalize": refused("was removed from vLLM; use `use_activation`"),
    }


def tokenize(settings: GatewaySettings) -> Table:
    """POST /tokenize: a prompt or a chat."""
    return {
        **everywhere(),
        **operators_fields(),
        "prompt": text(settings.max_body),
        "messages": bounds.messages(settings),
        "add_special_tokens": boolean(),
        "return_token_strs": boolean(),
        "add_generation_prompt": boolean(),
        "continue_final_message": boolean(),
        "chat_template_kwargs": bounds.template_kwargs(),
        "tools": bounds.tools(settings),
    }


def detokenize(settings: GatewaySettings) -> Table:
    """POST /detokenize."""
    return {
        **everywhere(),
        **operators_fields(),
        "tokens": array(bounds.TOKEN, 1_000_000),
    }


def check(table: Table, body: Mapping[str, Any]) -> list[str]:
    """Check a request's fields; returns those not to be sent on. Raises APIError naming the first bad one."""
    dropped: list[str] = []
    for name, value in body.items():
        rule = table.get(name)
        if rule is None:
            raise _unknown(name)
        if value is None:
            dropped.append(name)  # Null is the same as absent; engines do not agree on that for every field.
            continue
        problem = rule.check(value)
        if problem is not None:
            where, why = problem
            raise invalid_request(f"`{name}{where}` {why}.", param=f"{name}{where}")
        if not rule.forward:
            dropped.append(name)
    return dropped


def _unknown(name: str) -> APIError:
    shown = name if len(name) <= 64 else name[:64] + "…"
    return invalid_request(f"Unknown parameter: `{shown}`.", param=shown, code="unknown_parameter")
