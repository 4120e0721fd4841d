"""Every field that OpenAI's clients and vLLM know: honoured, passed on, or refused by name."""

import typing
from typing import Any

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from slipway.gateway.errors import APIError
from slipway.gateway.parameters import check
from slipway.gateway.requests import read_head
from slipway.gateway.routes import relayed_routes
from slipway.gateway.settings import GatewaySettings

SETTINGS = GatewaySettings()
ROUTES = relayed_routes(SETTINGS)
CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"

# The fields of vLLM 0.32's request models.
VLLM = {
    CHAT: """messages model frequency_penalty logit_bias logprobs top_logprobs max_tokens
        max_completion_tokens n presence_penalty response_format seed stop stream stream_options
        temperature top_p tools tool_choice reasoning_effort thinking_token_budget include_reasoning
        parallel_tool_calls user use_beam_search top_k min_p repetition_penalty watermarking
        length_penalty stop_token_ids include_stop_str_in_output ignore_eos min_tokens
        skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens truncation_side
        prompt_logprobs logprob_token_ids allowed_token_ids bad_words echo add_generation_prompt
        continue_final_message add_special_tokens documents chat_template chat_template_kwargs
        media_io_kwargs mm_processor_kwargs structured_outputs priority request_id session_id
        return_tokens_as_token_ids return_token_ids routed_experts_prompt_start return_token_offsets
        return_prompt_text mm_payload return_mm_kwargs cache_salt kv_transfer_params ec_transfer_params
        vllm_xargs repetition_detection stream_interval""",
    TEXT: """model prompt echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop
        stream stream_options suffix temperature top_p user use_beam_search top_k min_p
        repetition_penalty watermarking length_penalty stop_token_ids include_stop_str_in_output
        ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens
        truncation_side allowed_token_ids prompt_logprobs logprob_token_ids bad_words prompt_embeds
        add_special_tokens response_format structured_outputs priority request_id session_id
        return_tokens_as_token_ids return_token_ids routed_experts_prompt_start return_token_offsets
        mm_payload return_mm_kwargs cache_salt kv_transfer_params ec_transfer_params vllm_xargs
        repetition_detection thinking_token_budget stream_interval""",
    EMBED: """model input dimensions encoding_format user truncate_prompt_tokens truncation_side request_id
        priority mm_processor_kwargs cache_salt add_special_tokens use_activation messages""",
}


def openai_fields(module: Any, name: str) -> set[str]:
    names: set[str] = set()
    for each in (name, f"{name}Base", f"{name}NonStreaming", f"{name}Streaming"):
        kind = getattr(module, each, None)
        if isinstance(kind, type):
            names |= set(typing.get_type_hints(kind))
    return names


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        (CHAT, chat_create_params, "CompletionCreateParams"),
        (TEXT, completion_create_params, "CompletionCreateParams"),
        (EMBED, embedding_create_params, "EmbeddingCreateParams"),
    ],
)
def test_every_field_of_openais_client_is_known(path: str, module: Any, name: str) -> None:
    fields = openai_fields(module, name)
    assert len(fields) >= 5
    assert fields - set(ROUTES[path].table) == set()


@pytest.mark.parametrize("path", VLLM)
def test_every_field_of_vllm_is_known(path: str) -> None:
    assert set(VLLM[path].split()) - set(ROUTES[path].table) == set()


def refusal(path: str, **body: Any) -> str:
    with pytest.raises(APIError) as caught:
        check(ROUTES[path].table, body)
    assert caught.value.status == 400
    assert caught.value.param is not None
    assert f"`{caught.value.param}" in caught.value.message
    return caught.value.param


def accept(path: str, **body: Any) -> list[str]:
    return check(ROUTES[path].table, body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unheard_of", 1),
        ("api_base", "http://169.254.169.254/"),
        ("kv_transfer_params", {"remote_host": "10.0.0.1"}),
        ("prompt_embeds", "gASV"),
        ("request_id", "x"),
        ("priority", -1),
        ("priority", False),
        ("chat_template", "{{ 1 }}"),
        ("guided_regex", "a*"),
        ("n", 17),
        ("n", 0),
        ("n", True),
        ("n", "1"),
        ("n", 1.0),
        ("stream", "true"),
        ("stream", 1),
        ("max_tokens", 0),
        ("max_tokens", 10**9),
        ("max_tokens", -1),
        ("temperature", "0"),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("stop", ["a"] * 17),
        ("stop", "a" * 257),
        ("stop", [""]),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"1": 101}),
        ("seed", 2**63),
        ("store", True),
        ("metadata", {"a": "b"}),
        ("service_tier", "priority"),
        ("stream_options", {"include_usage": 1}),
        ("stream_options", {"other": True}),
        ("response_format", {"type": "structural_tag"}),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {"schema": {}}}),
        ("structured_outputs", {"regex": "a" * 513}),
        ("structured_outputs", {"regex": "a", "grammar": "b"}),
        ("structured_outputs", {}),
        ("structured_outputs", {"structural_tag": "x"}),
        ("allowed_token_ids", list(range(1025))),
        ("prompt_logprobs", -1),
        ("vllm_xargs", {"a": 1}),
    ],
)
def test_what_is_refused_on_both_completions_routes(field: str, value: Any) -> None:
    for path in (CHAT, TEXT):
        assert refusal(path, **{field: value}).startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_logprobs", 21),
        ("logprobs", 5),
        ("functions", []),
        ("function_call", "auto"),
        ("modalities", ["text", "audio"]),
        ("audio", {}),
        ("verbosity", "low"),
        ("prediction", {}),
        ("web_search_options", {}),
        ("reasoning_effort", "extreme"),
        ("tools", [{"type": "mcp"}]),
        ("tools", [{"type": "function", "function": {"name": "f"}}] * 129),
        ("tool_choice", "f"),
        ("chat_template_kwargs", {"chat_template": "x"}),
        ("chat_template_kwargs", {"tokenize": True}),
        ("chat_template_kwargs", {"self": 1}),
        ("chat_template_kwargs", {"tokenizer": "x"}),
        ("chat_template_kwargs", {"x": [1]}),
        ("media_io_kwargs", {}),
        ("messages", []),
        ("messages", [{"role": "user", "content": "x"}] * 2049),
    ],
)
def test_what_is_refused_in_a_chat(field: str, value: Any) -> None:
    assert refusal(CHAT, **{field: value}).startswith(field)


@pytest.mark.parametrize(
    ("field", "value"), [("best_of", 2), ("suffix", "x"), ("logprobs", 21), ("prompt", {})]
)
def test_what_is_refused_in_a_completion(field: str, value: Any) -> None:
    assert refusal(TEXT, **{field: value}) == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", [{"role": "user", "content": "x"}]),
        ("input", ""),
        ("input", []),
        ("input", ["a"] * 2049),
        ("messages", []),
        ("encoding_format", "bytes"),
        ("dimensions", 0),
    ],
)
def test_what_is_refused_in_embeddings(field: str, value: Any) -> None:
    assert refusal(EMBED, **{field: value}) == field


def image(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "ftp://a",
        "//a",
        " data:,",
    ],
)
def test_no_media_url_is_fetched(url: str) -> None:
    assert refusal(CHAT, messages=image(url)) == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    "part",
    [
        {"image_url": {"url": "http://a"}},
        {"type": "text", "text": "a", "image_url": "http://a"},
        {"type": "text", "text": "a", "uuid": "x", "video_url": "http://a"},
        {"type": "video_url", "video_url": {"url": "http://a"}},
        {"type": "audio_url", "audio_url": {"url": "data:,"}},
        {"type": "image_embeds", "image_embeds": "gASV"},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "image_url", "image_url": "http://a"},
        {"type": "image_url", "image_url": {"url": "data:,", "other": "http://a"}},
        {"type": ["text"], "text": "a"},
        {"type": "text", "text": {"a": 1}},
        "text",
    ],
)
def test_no_second_way_leads_to_media(part: Any) -> None:
    where = refusal(CHAT, messages=[{"role": "user", "content": [part]}])
    assert where.startswith("messages[0].content[0]")


@pytest.mark.parametrize(
    "message",
    [
        "hi",
        {"content": "hi"},
        {"role": "root", "content": "hi"},
        {"role": "user"},
        {"role": "user", "content": 3},
        {"role": "user", "content": []},
        {"role": "user", "content": "hi", "tools": []},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]},
        {"role": "assistant", "content": None, "audio": {"id": "x"}},
    ],
)
def test_messages_that_are_none(message: Any) -> None:
    assert refusal(CHAT, messages=[message]).startswith("messages[0]")


def test_a_whole_conversation_passes() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}], "name": "n"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None, "function_call": None},
        {"role": "tool", "content": "r", "tool_call_id": "1"},
        *image("data:image/png;base64,AAAA"),
    ]
    assert accept(CHAT, model="m", messages=messages) == []


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"a": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        nested(25),
        {"enum": list(range(2049))},
        {"properties": {str(number): {} for number in range(2049)}},
        {"properties": {"a": {"pattern": "a" * 513}}},
        {"patternProperties": {"a" * 513: {}}},
        {"anyOf": [{"pattern": "a" * 513}]},
        {"pattern": ".*a.{500}"},
        {"patternProperties": {"(a{20}){20}": {}}},
        {"type": "array", "minItems": 10**6},
        {"const": "a" * 65_536},
        {"enum": ["a" * 1000 + str(number) for number in range(66)]},
        {"properties": {"a" * 1000 + str(number): {} for number in range(66)}},
    ],
)
def test_schemas_have_bounds_wherever_they_appear(schema: dict[str, Any]) -> None:
    format_ = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert refusal(CHAT, response_format=format_) == "response_format.json_schema.schema"
    assert refusal(TEXT, structured_outputs={"json": schema}) == "structured_outputs.json"
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert refusal(CHAT, tools=[tool]) == "tools[0].function.parameters"


def test_a_schema_within_its_bounds_passes() -> None:
    schema = {"type": "object", "properties": {"a": nested(10), "b": {"pattern": "^a+$"}}}
    format_ = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    assert accept(CHAT, response_format=format_) == []


@pytest.mark.parametrize("value", [5, True, "a", ["a", 1], {"type": "string"}])
def test_a_schema_that_is_none_is_left_to_the_engine(value: Any) -> None:
    schema = {"properties": {"pattern": value, "patternProperties": value}, "patternProperties": value}
    assert accept(TEXT, structured_outputs={"json": schema}) == []


def test_choices_are_bounded_together() -> None:
    choices = ["a" * 1000] * 66
    assert accept(TEXT, structured_outputs={"choice": choices[:65]}) == []
    assert refusal(TEXT, structured_outputs={"choice": choices}) == "structured_outputs.choice"


def test_labels_and_nulls_end_at_the_gateway() -> None:
    fields = {
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "temperature": None,
        "audio": None,
    }
    assert set(accept(CHAT, **fields)) == set(fields)
    assert set(accept(CHAT, store=False, service_tier="auto", modalities=["text"], priority=0)) == {
        "store",
        "service_tier",
        "modalities",
        "priority",
    }


def test_estimates_grow_with_what_is_asked_for() -> None:
    chat = ROUTES[CHAT]
    short = chat.prompt_tokens({"messages": [{"role": "user", "content": "a" * 40}]})
    long = chat.prompt_tokens({"messages": [{"role": "user", "content": "a" * 4000}]})
    assert (short, long) == (14, 1004)
    assert chat.completion_tokens({"max_tokens": 10, "n": 3}, 512) == 30
    assert chat.completion_tokens({"max_completion_tokens": 10}, 512) == 10
    assert chat.completion_tokens({}, 512) is None
    text = ROUTES[TEXT]
    assert text.prompt_tokens({"prompt": [1, 2, 3]}) == 3
    assert text.prompt_tokens({"prompt": [[1, 2], [3]]}) == 3
    assert text.prompt_tokens({"prompt": ["a" * 8, "b" * 8]}) == 6


def test_trace_context_is_checked() -> None:
    good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert read_head([(b"traceparent", good)]).traceparent == good
    for bad in (good + b"x", good.upper(), b"00-" + b"0" * 32 + good[35:], b"a\r\nb"):
        assert read_head([(b"traceparent", bad)]).traceparent is None
