"""Chat templates and tools."""

import json
from pathlib import Path

import jinja2
import pytest

from slipway.engine.templates import CHATML_TOOLS, chat_template, tool_calling


def test_the_template_is_found_wherever_it_lies(tmp_path: Path) -> None:
    assert chat_template(tmp_path) is None
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": "inline"}))
    assert chat_template(tmp_path) == "inline"
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    config.write_text(json.dumps({"chat_template": named}))
    assert chat_template(tmp_path) == "with tools"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert chat_template(tmp_path) == "file"


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        (None, None),
        ("{{ messages }}[INST]", None),
        ("{{ tools }}<tool_call>", "hermes"),
        ("{{ tools }}<tool_call><function=", "qwen3_coder"),
        ("{{ tools }}[TOOL_CALLS]", "mistral"),
        ("{{ tools }}<|python_tag|>", "llama3_json"),
        ("{{ tools }}something of its own", "hermes"),
    ],
)
def test_the_parser_follows_from_the_template(template: str | None, parser: str | None) -> None:
    assert tool_calling(template) == (parser, None)


def test_a_chatml_template_without_tools_stays_for_conversations_without() -> None:
    parser, joined = tool_calling("<|im_start|>of the model\n")
    assert parser == "hermes"
    assert joined is not None
    template = jinja2.Environment(autoescape=False).from_string(joined)
    asked = [{"role": "user", "content": "Hi"}]
    assert template.render(messages=asked) == "<|im_start|>of the model\n"
    assert "<tools>" in template.render(messages=asked, tools=[{"type": "function"}])
    answered = [*asked, {"role": "tool", "content": "12:00"}]
    assert "<tool_response>" in template.render(messages=answered)


def render(messages: list[dict[str, object]], **variables: object) -> str:
    template = jinja2.Environment(autoescape=False).from_string(CHATML_TOOLS)
    return template.render(messages=messages, add_generation_prompt=True, **variables)


def test_chatml_without_tools_is_plain_chatml() -> None:
    assert render([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_chatml_tells_the_tools_and_replays_calls_and_answers() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "time", "arguments": {"zone": "UTC"}}}
    text = render(
        [
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "12:00", "tool_call_id": "1"},
        ],
        tools=[{"type": "function", "function": {"name": "time"}}],
    )
    assert '<tools>\n{"function": {"name": "time"}, "type": "function"}\n</tools>' in text
    assert '<tool_call>\n{"name": "time", "arguments": {"zone": "UTC"}}\n</tool_call>' in text
    assert "<tool_response>\n12:00\n</tool_response>" in text
