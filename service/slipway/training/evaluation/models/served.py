"""Asks a model behind an OpenAI-compatible API: several questions at once, again where a fault passes."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.questions import Kind, Question, Reply

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_UNFIT = frozenset({400, 413, 422})
"""The question's fault: it is counted as not answered, and the others go on."""
_ATTEMPTS = 6
_LONGEST_WAIT_S = 60.0


@dataclass
class ServedModel:
    """A model behind `URL/chat/completions`."""

    url: str
    """Such as `http://localhost:8000/v1`."""
    model: str = ""
    """Its name there; may be left out where there is one alone."""
    key: str = ""
    at_once: int = 8
    """Questions under way."""
    timeout_s: float = 600.0
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep
    _draw: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - spreads retries

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise EvaluationError(f"{self.url} is no address; write it as http://HOST:PORT/v1.", "BadAddress")
        self._client = httpx.Client(
            timeout=httpx.Timeout(self.timeout_s, connect=10),
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            limits=httpx.Limits(max_connections=self.at_once),
            transport=self.transport,
        )
        if not self.model:
            self.model = self._only_model()

    @property
    def name(self) -> str:
        """Its name there."""
        return self.model

    @cached_property
    def identity(self) -> str:
        """Of the address and the name: that another model has taken the name cannot be seen."""
        return hashlib.sha256(f"{self.url} {self.model}".encode()).hexdigest()[:16]

    def kinds(self) -> frozenset[Kind]:
        """What it can be asked; found out by asking once."""
        return self._kinds

    all_scores = False
    """A label comes with its own probability alone."""

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        """Replies as they come.

        Raises:
            EvaluationError: the server refuses, or has not answered after six attempts.
        """
        waiting = iter(questions)
        running: dict[Future[Reply], Question] = {}
        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                for question in waiting:
                    running[pool.submit(self._reply, question)] = question
                    if len(running) >= self.at_once:
                        yield from self._ended(running)
                while running:
                    yield from self._ended(running)
            finally:
                for future in running:
                    future.cancel()

    @staticmethod
    def _ended(running: dict[Future[Reply], Question]) -> Iterator[tuple[Question, Reply]]:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        failed = None
        for future in done:
            question = running.pop(future)
            if error := future.exception():
                failed = error
            else:
                yield question, future.result()
        if failed:
            raise failed

    @cached_property
    def _kinds(self) -> frozenset[Kind]:
        hello = (("user", "Hello"),)
        if not (fault := self._fault(Question("generate", hello, max_tokens=1))):
            likely = Question("likelihood", hello, continuation="Hello")
            return frozenset({"generate"} if self._fault(likely) else {"generate", "likelihood"})
        if not self._fault(Question("classify", text="Hello")):
            return frozenset({"classify"})
        raise EvaluationError(
            f"{self.model} at {self.url} neither writes answers nor labels texts: {fault}", "CannotAnswer"
        )

    def _fault(self, question: Question) -> str:
        """Why the server cannot be asked so; empty if it can. Raises EvaluationError if it refuses us."""
        try:
            return self._reply(question).error
        except EvaluationError as error:
            if error.reason != "NotOffered":
                raise
            return str(error)

    def _reply(self, question: Question) -> Reply:
        try:
            match question.kind:
                case "generate":
                    return self._generated(question)
                case "likelihood":
                    return self._likelihood(question)
                case "classify":
                    return self._labelled(question)
                case "tag":
                    return Reply(error="tokens cannot be tagged over the API")
        except _UnfitError as error:
            return Reply(error=str(error))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{self.url} does not answer as OpenAI's API does ({error!r}).", "BadAnswer"
            ) from error

    def _generated(self, question: Question) -> Reply:
        body: dict[str, Any] = {"max_tokens": question.max_tokens, "temperature": 0, "seed": 0}
        if not question.messages:
            answer = self._post("/completions", body | {"prompt": question.text})
            text = answer["choices"][0]["text"]
        else:
            if question.messages[-1][0] == "assistant":
                body |= {"add_generation_prompt": False, "continue_final_message": True}
            answer = self._post("/chat/completions", body | {"messages": _messages(question.messages)})
            text = answer["choices"][0]["message"]["content"] or ""
        return Reply(text, tokens=(answer.get("usage") or {}).get("completion_tokens") or 0)

    def _likelihood(self, question: Question) -> Reply:
        """By vLLM's `prompt_logprobs`: of the conversation with its answer, the last tokens are the answer's.

        A text alone has no probability of its first token unless the tokenizer puts one before it.
        """
        if not question.messages:
            body = {"prompt": question.continuation, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
            return _summed(self._post("/completions", body)["choices"][0].get("prompt_logprobs"), 0)
        asked = _messages(question.messages)
        options = {"max_tokens": 1, "temperature": 0}
        known = self._post("/chat/completions", {"messages": asked, **options})["usage"]["prompt_tokens"]
        whole = self._post(
            "/chat/completions",
            {
                "messages": [*asked, {"role": "assistant", "content": question.continuation}],
                "add_generation_prompt": False,
                "continue_final_message": True,
                "prompt_logprobs": 0,
                **options,
            },
        )
        return _summed(whole.get("prompt_logprobs"), known)

    def _labelled(self, question: Question) -> Reply:
        """By vLLM's `/classify`, which names the label that it gives, and none of the others."""
        row = self._post("/classify", {"input": [question.text]})["data"][0]
        return Reply(row["label"], scores={row["label"]: float(max(row["probs"]))})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON that a call answers with; again where the fault passes."""
        for attempt in range(1, _ATTEMPTS + 1):
            wait_s = min(_LONGEST_WAIT_S, 0.5 * 2**attempt) * (0.5 + self._draw.random() / 2)
            try:
                response = self._client.post(f"{self.url}{path}", json={"model": self.model, **body})
            except httpx.TransportError as error:
                fault = f"cannot be reached ({error or type(error).__name__})"
            else:
                if response.status_code == 200:
                    document: dict[str, Any] = response.json()
                    return document
                fault = f"answers {response.status_code}: {_message(response)}"
                if response.status_code in _UNFIT:
                    raise _UnfitError(fault)
                if response.status_code not in _PASSING:
                    reason = "NotOffered" if response.status_code in (404, 405, 501) else "Refused"
                    raise EvaluationError(f"{self.url}{path} {fault}", reason)
                wait_s = max(wait_s, min(_LONGEST_WAIT_S, _retry_after(response)))
            if attempt < _ATTEMPTS:
                self.sleep(wait_s)
        raise EvaluationError(
            f"{self.url}{path} {fault}, {_ATTEMPTS} times; what was answered is kept, begin again to go on.",
            "Unreachable",
        )

    def _only_model(self) -> str:
        try:
            response = self._client.get(f"{self.url}/models")
            response.raise_for_status()
            names = [each["id"] for each in response.json()["data"]]
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{self.url}/models cannot be read ({error}); name the model.", "Unreachable"
            ) from error
        if len(names) != 1:
            raise EvaluationError(
                f"{self.url} serves {', '.join(names) or 'no model'}; name one of them.", "ModelUnnamed"
            )
        return str(names[0])


class _UnfitError(Exception):
    """The question cannot be answered; others can."""


def _messages(turns: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def _summed(logprobs: Any, known: int) -> Reply:
    """The sum over the tokens after the first `known`."""
    if not isinstance(logprobs, list):
        return Reply(error="the server tells no `prompt_logprobs`")
    # One that was not asked for is there as well where it is the likeliest; the prompt's own comes first.
    told = [next(iter(each.values()))["logprob"] for each in logprobs[known:] if each]
    return (
        Reply(logprob=float(sum(told)), tokens=len(told))
        if told
        else Reply(error="there is no token to judge")
    )


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return str(response.text)[:200]


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0
