"""The fields of requests: honoured, or refused by name; none dropped in silence. Pure.

A field that is not honoured may still hold the value that changes nothing, as clients send those unasked.
"""

from collections.abc import Callable, Mapping
from typing import Any

from slipway.engine.transformers_runtime.errors import invalid

Body = Mapping[str, Any]
Check = Callable[[Any], str | None]
"""What a value must be, if it is not; None if it is right."""


def whole(least: int, most: int) -> Check:
    """A whole number in a range."""

    def check(value: Any) -> str | None:
        right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if right else f"must be a whole number from {least} to {most}"

    return check


def real(least: float, most: float) -> Check:
    """A number in a range."""

    def check(value: Any) -> str | None:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
        return None if right else f"must be a number from {least:g} to {most:g}"

    return check


def of(kind: type, named: str) -> Check:
    """A value of a JSON type."""
    return lambda value: None if isinstance(value, kind) else f"must be {named}"


def equal_to(*neutral: Any) -> Check:
    """One of the values that change nothing."""

    def check(value: Any) -> str | None:
        if any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in neutral):
            return None
        return "is not offered by the Transformers runtime"

    return check


TEXT = of(str, "a string")
FLAG = of(bool, "true or false")
OBJECT = of(dict, "an object")


def texts(value: Any) -> str | None:
    """A string or a list of strings."""
    if isinstance(value, str) or (isinstance(value, list) and value and all(map(_is_text, value))):
        return None
    return "must be a string or a list of strings"


def texts_or_ids(value: Any) -> str | None:
    """A string, token ids, or a list of either."""
    if isinstance(value, str) or _are_ids(value):
        return None
    if isinstance(value, list) and value and (all(map(_is_text, value)) or all(map(_are_ids, value))):
        return None
    return "must be a string, a list of strings, or token ids"


def stops(value: Any) -> str | None:
    """Up to 16 texts that end an answer."""
    several = [value] if isinstance(value, str) else value
    if isinstance(several, list) and len(several) <= 16 and all(_is_text(each) and each for each in several):
        return None
    return "must be a string or a list of at most 16 strings, none of them empty"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value)
    )


EVERYWHERE: Mapping[str, Check] = {
    "model": TEXT,
    "user": TEXT,
    "priority": equal_to(0),
    "cache_salt": TEXT,  # There is no prefix cache to keep apart.
}

GENERATION: Mapping[str, Check] = {
    **EVERYWHERE,
    "max_tokens": whole(1, 1_000_000),
    "n": whole(1, 128),
    "temperature": real(0, 100),
    "top_p": real(1e-7, 1),
    "top_k": whole(-1, 1_000_000),
    "seed": whole(-(2**63), 2**63 - 1),
    "repetition_penalty": real(0.01, 10),
    "stop": stops,
    "ignore_eos": FLAG,
    "stream": FLAG,
    "stream_options": OBJECT,
    "truncate_prompt_tokens": whole(-1, 1_000_000),
    "add_special_tokens": equal_to(True),
    "allowed_token_ids": equal_to([]),
    "bad_words": equal_to([]),
    "best_of": equal_to(1),
    "echo": equal_to(False),
    "frequency_penalty": equal_to(0),
    "include_stop_str_in_output": equal_to(False),
    "length_penalty": equal_to(1),
    "logit_bias": equal_to({}),
    "logprobs": equal_to(False),
    "min_p": equal_to(0),
    "min_tokens": equal_to(0),
    "presence_penalty": equal_to(0),
    "response_format": equal_to({"type": "text"}),
    "skip_special_tokens": equal_to(True),
    "spaces_between_special_tokens": equal_to(True),
    "stop_token_ids": equal_to([]),
    "stream_interval": equal_to(1),
    "suffix": equal_to(""),
    "use_beam_search": equal_to(False),
}

COMPLETION: Mapping[str, Check] = {**GENERATION, "prompt": texts_or_ids}

CHAT: Mapping[str, Check] = {
    **GENERATION,
    "messages": of(list, "a list of messages"),
    "max_completion_tokens": whole(1, 1_000_000),
    "add_generation_prompt": equal_to(True),
    "chat_template_kwargs": equal_to({}),
    "continue_final_message": equal_to(False),
    "documents": equal_to([]),
    "include_reasoning": FLAG,  # No reasoning is ever made.
    "parallel_tool_calls": FLAG,
    "reasoning_effort": equal_to("none"),
    "tool_choice": equal_to("auto", "none"),
    "tools": equal_to([]),
    "top_logprobs": equal_to(0),
}

POOLING: Mapping[str, Check] = {
    **EVERYWHERE,
    "truncate_prompt_tokens": whole(-1, 1_000_000),
    "truncation_side": equal_to("right"),
    "use_activation": FLAG,
    "padding": equal_to("do_not_pad"),
}

CLASSIFY: Mapping[str, Check] = {**POOLING, "input": texts_or_ids, "add_special_tokens": FLAG}

EMBED: Mapping[str, Check] = {
    **CLASSIFY,
    "encoding_format": lambda value: None if value in ("float", "base64") else "must be `float` or `base64`",
}

_PAIRS: Mapping[str, Check] = {
    **POOLING,
    "max_tokens_per_query": equal_to(0),
    "max_tokens_per_doc": equal_to(0),
    "chat_template_kwargs": equal_to({}),
}

SCORE: Mapping[str, Check] = {
    **_PAIRS,
    "text_1": texts,
    "text_2": texts,
    "queries": texts,
    "documents": texts,
}

RERANK: Mapping[str, Check] = {
    **_PAIRS,
    "query": TEXT,
    "documents": texts,
    "top_n": whole(0, 2**63 - 1),
}

TOKENIZE: Mapping[str, Check] = {
    **EVERYWHERE,
    "prompt": TEXT,
    "messages": of(list, "a list of messages"),
    "add_special_tokens": FLAG,
    "return_token_strs": FLAG,
    "add_generation_prompt": equal_to(True),
    "chat_template_kwargs": equal_to({}),
    "continue_final_message": equal_to(False),
    "tools": equal_to([]),
}


def _ids(value: Any) -> str | None:
    return None if value == [] or _are_ids(value) else "must be a list of token ids"


DETOKENIZE: Mapping[str, Check] = {**EVERYWHERE, "tokens": _ids}


def checked(table: Mapping[str, Check], body: Any, *required: str) -> dict[str, Any]:
    """The fields of a body that are there; null is the same as absent.

    Raises:
        RequestError: the body is no object, a required field is missing, or one is unknown or not right.
    """
    if not isinstance(body, dict):
        raise invalid("The body must be a JSON object.")
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        check = table.get(name)
        problem = "is not offered by the Transformers runtime" if check is None else check(value)
        if problem is not None:
            shown = name if len(name) <= 64 else name[:64] + "…"
            raise invalid(f"`{shown}` {problem}.", shown)
    for name in required:
        if name not in given:
            raise invalid(f"`{name}` is missing.", name)
    return given
