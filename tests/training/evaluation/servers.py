"""A server with OpenAI's API over a model in this process, which fails where a test wants it to."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.models.prompts import prompt_ids
from slipway.training.evaluation.models.served import ServedModel
from slipway.training.evaluation.questions import Question

Fault = tuple[int, dict[str, str]]


@dataclass
class Server:
    """What the server does and has seen."""

    model: LocalModel
    fault: Callable[[int, str], Fault | None] = lambda number, path: None
    """Status and headers of the answer to a request, by its number from 1; None lets it be answered."""
    logprobs: bool = True
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    keys: set[str | None] = field(default_factory=set)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: list[ServedModel] = field(default_factory=list)
    _model: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self, path: str, body: dict[str, Any], key: str | None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, document and headers."""
        with self._lock:
            self.calls[path] += 1
            self.keys.add(key)
            fault = self.fault(self.calls.total(), path)
        if fault:
            return fault[0], {"error": {"message": "this is a test"}}, fault[1]
        with self._model:
            return 200, self._document(path, body), {}

    def client(self, model: str = "tiny", **options: Any) -> ServedModel:
        """A client that is closed with the server."""
        made = ServedModel(self.url, model, **options)
        self._clients.append(made)
        return made

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One request more is under way."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def _document(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        tokenizer = self.model.opened.tokenizer
        if path == "/v1/models":
            return {"data": [{"id": "tiny"}]}
        if path == "/v1/classify":
            reply = dict(self.model.replies([Question("classify", text=body["input"][0])])).popitem()[1]
            return {"data": [{"index": 0, "label": reply.text, "probs": list(reply.scores.values())}]}
        if path == "/v1/completions":
            ids = tokenizer(body["prompt"])["input_ids"]
            return {
                "choices": [
                    {"text": "", "prompt_logprobs": self._logprobs(body, [tokenizer.bos_token_id, *ids])}
                ]
            }
        turns = tuple((each["role"], each["content"]) for each in body["messages"])
        if body.get("continue_final_message"):
            ids = prompt_ids(tokenizer, turns[:-1], False) + tokenizer(turns[-1][1])["input_ids"]
            return {"choices": [{"message": {"content": ""}}], "prompt_logprobs": self._logprobs(body, ids)}
        question = Question("generate", turns, max_tokens=body["max_tokens"])
        reply = dict(self.model.replies([question]))[question]
        usage = {"prompt_tokens": len(prompt_ids(tokenizer, turns, False)), "completion_tokens": reply.tokens}
        return {"choices": [{"message": {"content": reply.text}}], "usage": usage}

    def _logprobs(self, body: dict[str, Any], ids: list[int]) -> list[Any] | None:
        """As vLLM tells them: none of the first token, one of each other."""
        import torch

        if body.get("prompt_logprobs") is None or not self.logprobs:
            return None
        with torch.inference_mode():
            logits = self.model.opened.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        told = [
            {str(after): {"logprob": float(row[after])}} for row, after in zip(logits, ids[1:], strict=False)
        ]
        return [None, *told]


@contextmanager
def served(model: LocalModel, **options: Any) -> Iterator[Server]:
    """The server, until the block ends."""
    model.opened  # noqa: B018 - loaded before threads ask for it
    server = Server(model, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            with server.counted():
                status, document, headers = server.answer(self.path, body, self.headers.get("Authorization"))
            if status == 0:  # Hang up without a word.
                self.close_connection = True
                return
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        for client in server._clients:
            client.close()
        http.shutdown()
        http.server_close()
        thread.join()
