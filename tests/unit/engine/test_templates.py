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
    ("template", "parser", "replacement"),
    [
        (None, None, None),
        ("{{ messages }}<|im_start|>", "hermes", CHATML_TOOLS),
        ("{{ messages }}[INST]", None, None),
        ("{{ tools }}<tool_call>", "hermes", None),
        ("{{ tools }}<tool_call><function=", "qwen3_coder", None),
        ("{{ tools }}[TOOL_CALLS]", "mistral", None),
        ("{{ tools }}<|python_tag|>", "llama3_json", None),
        ("{{ tools }}something of its own", "hermes", None),
    ],
)
def test_the_parser_follows_from_the_template(
    template: str | None, parser: str | None, replacement: Path | None
) -> None:
    assert tool_calling(template) == (parser, replacement)


def render(messages: list[dict[str, object]], **variables: object) -> str:
    template = jinja2.Environment(autoescape=False).from_string(CHATML_TOOLS.read_text())
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
