"""Chat templates, and which parser of vLLM reads the tool calls that a model writes."""

import json
from pathlib import Path

CHATML_TOOLS = (Path(__file__).parent / "chatml_tools.jinja").read_text().strip()

# A mark in a chat template -> the parser in vLLM for calls written so. The first that is found counts.
PARSERS = (
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<function=", "qwen3_coder"),
    ("<tool_call>", "hermes"),
)


def chat_template(model: Path) -> str | None:
    """The chat template of the model in the folder `model`, as text; None where it has none."""
    jinja = model / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text()
    config = model / "tokenizer_config.json"
    if not config.is_file():
        return None
    template = json.loads(config.read_text()).get("chat_template")
    if isinstance(template, list):  # Several by name, as some models have them.
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("tool_use") or named.get("default")
    return template if isinstance(template, str) else None


def tool_calling(template: str | None) -> tuple[str | None, str | None]:
    """How tools are called with a model of this chat template: vLLM's parser, and a template to use instead.

    A ChatML template that knows no tools is kept for conversations without, and joined by one that does.
    Any other that knows none is left alone, and so is the parser: the engine then refuses tools by name.
    """
    if template is None:
        return None, None
    if "tools" not in template:
        return ("hermes", _with_tools(template)) if "<|im_start|>" in template else (None, None)
    for mark, parser in PARSERS:
        if mark in template:
            return parser, None
    return "hermes", None


def _with_tools(template: str) -> str:
    condition = "tools or messages | selectattr('role', 'equalto', 'tool') | list"
    return f"{{%- if {condition} -%}}{CHATML_TOOLS}{{%- else %}}{template}{{% endif -%}}"
