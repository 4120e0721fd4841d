"""Reads texts: chats to prompts, prompts to tokens, within the model's limit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from slipway.engine.transformers_runtime.errors import invalid

T = TypeVar("T")

CHARACTERS_A_TOKEN = 128
"""A text with more characters than this for each token of the limit is refused unread, or cut."""
PART_SEPARATOR = "\n"
"""Between the messages of a chat, for a model without a chat template."""

Encoding = dict[str, list[int]]


def texts_of(messages: Sequence[Any]) -> list[dict[str, str]]:
    """Messages as role and text each.

    Raises:
        RequestError: one holds something other than text.
    """
    if not messages:
        raise invalid("`messages` is empty.", "messages")
    read = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid(f"`{where}` must be an object with `role` and `content`.", where)
        if message.get("tool_calls") or message["role"] in ("tool", "function"):
            raise invalid(f"`{where}`: tools are not offered by the Transformers runtime.", where)
        read.append({"role": message["role"], "content": _content(message.get("content"), where)})
    return read


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in parts):
            return PART_SEPARATOR.join(text for text in parts if text is not None)
    raise invalid(f"`{where}.content` must be text.", f"{where}.content")


class Reading:
    """A tokenizer behind the model's limit. All its work is done in one thread, one text after another."""

    def __init__(self, tokenizer: Any, *, longest: int, vocabulary: int) -> None:
        """Read with Transformers' `tokenizer`, at most `longest` tokens, of ids below `vocabulary`."""
        self._tokenizer = tokenizer
        self.longest = longest
        self._vocabulary = vocabulary
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work`, which uses this reader's methods, in the thread they are meant for."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def prompt_of(self, messages: Sequence[Any]) -> str:
        """A chat as one text: by the model's chat template, or its texts one below the other."""
        read = texts_of(messages)
        if self._tokenizer.chat_template is None:
            return PART_SEPARATOR.join(message["content"] for message in read)
        try:
            return str(self._tokenizer.apply_chat_template(read, tokenize=False, add_generation_prompt=True))
        except Exception as error:
            raise invalid("The model's chat template does not take these messages.", "messages") from error

    def encode(
        self,
        text: str | Sequence[int],
        second: str | None = None,
        *,
        param: str,
        special: bool = True,
        cut: int | None = None,
        offsets: bool = False,
    ) -> dict[str, Any]:
        """What the model takes for a text, a pair of texts, or token ids.

        Args:
            text: the text, or ids that are taken as they are.
            second: the pair's other text.
            param: the field it comes from, for messages.
            special: add the special tokens that the model wants around a text.
            cut: longer inputs are cut to so many tokens; -1 means the limit; None refuses them.
            offsets: tell where each token lies: `offset_mapping`, `special_tokens_mask`.

        Raises:
            RequestError: too long, empty, or an id that the model does not have.
        """
        most = self.longest if cut is None or cut < 0 else min(cut, self.longest)
        if isinstance(text, str):
            read = self._of_text(
                text, second, param=param, most=most, special=special, cuts=cut is not None, offsets=offsets
            )
        else:
            read = self._of_ids(text, param, most if cut is not None else None)
        length = len(read["input_ids"])
        if length == 0:
            raise invalid(f"`{param}` holds no token.", param)
        if length > self.longest:
            raise self._too_long(param, f"{length} tokens")
        return read

    def _of_text(
        self,
        text: str,
        second: str | None,
        *,
        param: str,
        most: int,
        special: bool,
        cuts: bool,
        offsets: bool,
    ) -> dict[str, Any]:
        bound = CHARACTERS_A_TOKEN * self.longest
        for each in (text, second or ""):
            if len(each) > bound and not cuts:
                raise self._too_long(param, f"{len(each)} characters")
        more: Mapping[str, Any] = {"truncation": True, "max_length": most} if cuts else {}
        if offsets:
            more = {**more, "return_offsets_mapping": True, "return_special_tokens_mask": True}
        read = self._tokenizer(
            text[:bound],
            None if second is None else second[:bound],
            add_special_tokens=special,
            verbose=False,
            **more,
        )
        return dict(read)

    def _of_ids(self, ids: Sequence[int], param: str, most: int | None) -> Encoding:
        if max(ids, default=0) >= self._vocabulary:
            raise invalid(f"`{param}` holds a token id of {self._vocabulary} or above.", param)
        kept = list(ids[:most])
        read = {"input_ids": kept, "attention_mask": [1] * len(kept)}
        if "token_type_ids" in self._tokenizer.model_input_names:
            read["token_type_ids"] = [0] * len(kept)
        return read

    def _too_long(self, param: str, what: str) -> Exception:
        return invalid(
            f"`{param}` has {what}; this model takes at most {self.longest} tokens. Shorten it, or let it be "
            "cut with `truncate_prompt_tokens: -1`.",
            param,
        )

    def count(self, text: str, *, special: bool) -> list[int]:
        """The ids of a text of any length."""
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Token ids as the vocabulary spells them."""
        return [str(each) for each in self._tokenizer.convert_ids_to_tokens(list(ids))]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text that token ids stand for. Raises RequestError for an id that the model does not have."""
        if max(ids, default=0) >= self._vocabulary:
            raise invalid(f"`tokens` holds an id of {self._vocabulary} or above.", "tokens")
        return str(self._tokenizer.decode(list(ids)))
