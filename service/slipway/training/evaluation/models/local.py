"""Asks a model in this process: in batches, without chance."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Task
from slipway.training.evaluation.models.folders import Folder, Opened
from slipway.training.evaluation.models.prompts import prompt_ids
from slipway.training.evaluation.questions import Kind, Question, Reply

_LOGITS = 2**26
"""Numbers of one batch's logits (256 MiB in float32)."""
_TOKENS = 8192
"""Tokens of one batch that generates or labels."""
_ANSWERED: dict[Task, frozenset[Kind]] = {
    "generate": frozenset({"generate", "likelihood"}),
    "text": frozenset({"generate", "likelihood"}),
    "classify": frozenset({"classify"}),
    "tag": frozenset({"tag"}),
}


@dataclass
class LocalModel:
    """A model in a folder, opened when it is first asked."""

    folder: Folder
    task: Task
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.folder.path.name

    @cached_property
    def identity(self) -> str:
        """Another for each task and each state of the files."""
        return hashlib.sha256(f"{self.task} {self.folder.digest}".encode()).hexdigest()[:16]

    def kinds(self) -> frozenset[Kind]:
        """What it can be asked."""
        return _ANSWERED[self.task]

    @cached_property
    def opened(self) -> Opened:
        """The model in memory."""
        return self.folder.open(self.task)

    def close(self) -> None:
        """Let go of the memory."""
        self.__dict__.pop("opened", None)

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        """Replies, the longest questions first."""
        if not questions:
            return
        seq2seq = bool(self.opened.model.config.is_encoder_decoder)
        for kind in dict.fromkeys(each.kind for each in questions):
            own = [each for each in questions if each.kind == kind]
            match kind:
                case "generate":
                    yield from _Generating(self.opened, seq2seq).replies(own)
                case "likelihood":
                    yield from _Judging(self.opened, seq2seq).replies(own)
                case "classify":
                    yield from _in_batches(own, [len(each.text) for each in own], _TOKENS, self._labelled)
                case "tag":
                    yield from _in_batches(own, [len(each.tokens) for each in own], _TOKENS, self._tagged)

    def _labelled(self, questions: Sequence[Question]) -> list[Reply]:
        logits, _ = self._forward([each.text for each in questions])
        replies = []
        for row in logits.softmax(dim=-1).tolist():
            scores = dict(zip(self.opened.labels, row, strict=True))
            replies.append(Reply(max(scores, key=lambda label: scores[label]), scores=scores))
        return replies

    def _tagged(self, questions: Sequence[Question]) -> list[Reply]:
        rows = [list(each.tokens) for each in questions]
        logits, encoded = self._forward(rows, is_split_into_words=True)
        best, replies = logits.argmax(dim=-1).tolist(), []
        for at, words in enumerate(rows):
            # A word has the tag of its first piece; one that was cut off has none.
            tags = ["O"] * len(words)
            for piece, word in reversed(list(enumerate(encoded.word_ids(at)))):
                if word is not None:
                    tags[word] = self.opened.labels[best[at][piece]]
            replies.append(Reply(tags=tuple(tags)))
        return replies

    def _forward(self, inputs: list[Any], **options: Any) -> tuple[Any, Any]:
        """Logits of a whole batch in float32, and the batch."""
        import torch

        model, tokenizer = self.opened.model, self.opened.tokenizer
        tokenizer.padding_side = "right"
        longest = min(tokenizer.model_max_length, longest_input(model.config))
        encoded = tokenizer(
            inputs, padding=True, truncation=True, max_length=longest, return_tensors="pt", **options
        )
        with torch.inference_mode():
            return model(**encoded.to(model.device)).logits.float().cpu(), encoded


@dataclass(frozen=True, slots=True)
class _Generating:
    opened: Opened
    seq2seq: bool

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        model, tokenizer = self.opened.model, self.opened.tokenizer
        longest = longest_input(model.config)
        for limit in dict.fromkeys(each.max_tokens for each in questions):
            own, prompts = [], []
            for each in (each for each in questions if each.max_tokens == limit):
                ids = (
                    prompt_ids(tokenizer, each.messages, self.seq2seq)
                    if each.messages
                    else tokenizer(each.text)["input_ids"]
                )
                if len(ids) + (0 if self.seq2seq else limit) > longest:
                    error = f"{len(ids)} tokens and {limit} for the answer are more than {longest}"
                    yield each, Reply(error=error)
                    continue
                own.append(each)
                prompts.append(ids)
            by_key = dict(zip([each.key for each in own], prompts, strict=True))
            yield from _in_batches(
                own,
                [len(ids) + limit for ids in prompts],
                _TOKENS,
                lambda batch, limit=limit, by_key=by_key: self._batch(  # type: ignore[misc]
                    [by_key[each.key] for each in batch], limit
                ),
            )

    def _batch(self, prompts: list[list[int]], limit: int) -> list[Reply]:
        import torch

        model, tokenizer = self.opened.model, self.opened.tokenizer
        width = max(map(len, prompts))
        pad = tokenizer.pad_token_id or 0
        left = [[pad] * (width - len(ids)) + ids for ids in prompts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
        with torch.inference_mode():
            given = model.generate(
                input_ids=torch.tensor(left, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=_greedy(model, tokenizer, limit),
            )
        made = given[:, (0 if self.seq2seq else width) :].tolist()
        replies = []
        for ids in made:
            tokens = len([each for each in ids if each != pad])
            replies.append(Reply(tokenizer.decode(ids, skip_special_tokens=True), tokens=tokens))
        return replies


@dataclass(frozen=True, slots=True)
class _Window:
    """Tokens after the first `known`, each judged by all before it."""

    question: Question
    ids: list[int]
    known: int


@dataclass(frozen=True, slots=True)
class _Judging:
    """How likely continuations are."""

    opened: Opened
    seq2seq: bool

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        vocabulary = self.opened.model.get_output_embeddings().weight.shape[0]
        windows = [window for each in questions for window in self._windows(each)]
        left = {each.key: 0 for each in questions}
        for window in windows:
            left[window.question.key] += 1
        sums = {each.key: (0.0, 0) for each in questions}
        for each in questions:
            if not left[each.key]:
                yield each, Reply(error="there is no token to judge")
        costs = [len(each.ids) for each in windows]
        for window, (logprob, tokens) in _in_batches(windows, costs, _LOGITS // vocabulary, self._batch):
            key = window.question.key
            sums[key] = (sums[key][0] + logprob, sums[key][1] + tokens)
            left[key] -= 1
            if not left[key]:
                yield window.question, Reply(logprob=sums[key][0], tokens=sums[key][1])

    def _windows(self, question: Question) -> list[_Window]:
        """What fits the model; a longer text alone in parts that each know the token before it, the last as
        much as fits (lm-evaluation-harness' rolling windows); too long a prompt without its beginning."""
        tokenizer, longest = self.opened.tokenizer, longest_input(self.opened.model.config)
        ids = tokenizer(question.continuation, add_special_tokens=False)["input_ids"]
        if not ids:
            return []
        if question.messages:
            known = prompt_ids(tokenizer, question.messages, self.seq2seq)
            if self.seq2seq:
                return [_Window(question, known + ids, len(known))]
            whole = (known + ids)[-longest - 1 :]
            return [_Window(question, whole, max(1, len(whole) - len(ids)))]
        prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        known = [ids[0]] if prefix is None else [prefix]
        ids = ids[1:] if prefix is None else ids
        windows = [_Window(question, known + ids[:longest], 1)] if ids else []
        for begin in range(longest, len(ids), longest):
            end = min(begin + longest, len(ids))
            window = ids[end - longest - 1 : end]
            windows.append(_Window(question, window, len(window) - (end - begin)))
        return windows

    def _batch(self, windows: Sequence[_Window]) -> list[tuple[float, int]]:
        import torch

        model, pad = self.opened.model, self.opened.tokenizer.pad_token_id or 0

        def filled(rows: Sequence[list[int]], value: int) -> Any:
            width = max(map(len, rows))
            return torch.tensor([row + [value] * (width - len(row)) for row in rows], device=model.device)

        with torch.inference_mode():
            if self.seq2seq:
                asked = [each.ids[: each.known] for each in windows]
                targets = filled([each.ids[each.known :] for each in windows], -100)
                mask = filled([[1] * len(ids) for ids in asked], 0)
                # The labels are shifted into the decoder by the model itself.
                logits = model(input_ids=filled(asked, pad), attention_mask=mask, labels=targets).logits
            else:
                # The last token is judged and judges none.
                read = [each.ids[:-1] for each in windows]
                ids, mask = filled(read, pad), filled([[1] * len(row) for row in read], 0)
                wanted = [[-100] * (each.known - 1) + each.ids[each.known :] for each in windows]
                targets = filled(wanted, -100)
                logits = model(input_ids=ids, attention_mask=mask).logits
            losses = torch.nn.functional.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none"
            ).view(targets.shape)
        sums = (-losses.double().sum(dim=1)).tolist()
        return list(zip(sums, (targets != -100).sum(dim=1).tolist(), strict=True))


def longest_input(config: Any) -> int:
    """Tokens that a model can read at once."""
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            # RoBERTa and its kin keep positions for what stands before the first token.
            return value - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else value
    return 1 << 20


def _greedy(model: Any, tokenizer: Any, limit: int) -> Any:
    """The likeliest token each time, whatever the model's own settings say."""
    from transformers import GenerationConfig

    own = model.generation_config
    ends = {tokenizer.eos_token_id}
    ends |= set(own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id])
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=limit,
        eos_token_id=sorted(end for end in ends if end is not None) or None,
        pad_token_id=tokenizer.pad_token_id or 0,
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        forced_bos_token_id=own.forced_bos_token_id,
        forced_eos_token_id=own.forced_eos_token_id,
    )


def _in_batches(
    items: Sequence[Any], costs: Sequence[int], budget: int, work: Callable[[Sequence[Any]], list[Any]]
) -> Iterator[tuple[Any, Any]]:
    """Each item with what came of it; batches of like cost, the dearest first, filled up to the budget."""
    order = sorted(range(len(items)), key=lambda at: -costs[at])
    begin = 0
    while begin < len(order):
        size = max(1, budget // max(costs[order[begin]], 1))
        batch = [items[at] for at in order[begin : begin + size]]
        yield from zip(batch, _fitting(batch, work), strict=True)
        begin += size


def _fitting(batch: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
    """What comes of a batch, in halves where the device has no memory for the whole."""
    import torch

    try:
        return work(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise EvaluationError("The device has no memory for one example.", "OutOfMemory") from None
    half = len(batch) // 2
    return _fitting(batch[:half], work) + _fitting(batch[half:], work)
