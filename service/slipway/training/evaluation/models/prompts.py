"""Conversations as the token ids of a prompt."""

from typing import Any

from slipway.training.tuning.conversations import CHATML


def prompt_ids(tokenizer: Any, messages: tuple[tuple[str, str], ...], encoder_decoder: bool) -> list[int]:
    """The ids after which the answer begins, as training makes them: by the model's chat template, or ChatML
    where it has none; a model with an encoder reads the turns' lines. A last turn of the assistant is gone
    on with."""
    if encoder_decoder:
        ids: list[int] = tokenizer("\n".join(content for _, content in messages))["input_ids"]
        return ids
    begun = messages[-1][0] == "assistant"
    turns = [{"role": role, "content": content} for role, content in messages]
    rendered = tokenizer.apply_chat_template(
        turns,
        chat_template=tokenizer.chat_template or CHATML,
        add_generation_prompt=not begun,
        continue_final_message=begun,
        tokenize=True,
        return_dict=False,
    )
    return list(rendered)
