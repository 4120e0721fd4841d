"""Users of a Slipway: chat, streamed chat, embeddings, classification, by themselves or mixed.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000 [Chat] [Streaming] [Embeddings] [Classify]

The key is in $SLIPWAY_KEY. Without names of users all take part, as often as their `weight` says. A model for
each is found by GET /v1/models; users whose model is not served are left out. Prompts and answers have the
lengths of real conversations (lengths.csv), times $SLIPWAY_LOADTEST_SCALE, at most $SLIPWAY_LOADTEST_LONGEST
tokens together. Beside Locust's own rows there are two of every streamed chat: `first token` in milliseconds
and `tokens a second`. A 429 with Retry-After is the gateway's word that a limit is met: it gets a row of its
own and is obeyed. Everything else that is not a whole answer is a failure, and Locust ends with 1.
"""

import csv
import json
import os
import random
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from locust import HttpUser, constant, events, task  # type: ignore[import-not-found]

SCALE = float(os.environ.get("SLIPWAY_LOADTEST_SCALE", "1"))
LONGEST = int(os.environ.get("SLIPWAY_LOADTEST_LONGEST", "4096"))
KEY = os.environ.get("SLIPWAY_KEY", "")
AUTHORIZATION = {"authorization": f"Bearer {KEY}"}
TEXT = (
    "the sea was calm and the old ship left the harbour at dawn with a light wind from the west while people "
    "on the quay talked about the price of fish and the weather of the coming week as they did every day"
)
WORDS = TEXT.split()
MODELS: dict[str, str] = {}
"""The model of each task that is served."""


def _lengths() -> list[tuple[int, int]]:
    with (Path(__file__).parent / "lengths.csv").open(newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return [(int(row["prompt_tokens"]), int(row["completion_tokens"])) for row in rows]


LENGTHS = _lengths()


def lengths(pick: random.Random) -> tuple[int, int]:
    """Tokens of a prompt and of its answer."""
    prompt, completion = pick.choice(LENGTHS)
    completion = max(1, min(int(completion * SCALE), LONGEST // 2))
    # Room for the chat template and for words that are more than a token.
    return max(1, min(int(prompt * SCALE), (LONGEST - completion) * 3 // 4 - 64)), completion


def text(pick: random.Random, tokens: int) -> str:
    """About so many tokens; no two texts begin alike, as a cache of prefixes would answer for the engine."""
    return " ".join([f"{pick.random():.6f}", *(pick.choice(WORDS) for _ in range(tokens))])


class Caller(HttpUser):  # type: ignore[misc]
    """What all users have in common."""

    abstract = True
    wait_time = constant(0)
    does = "generate"

    def on_start(self) -> None:
        self.pick = random.Random()
        self.model = MODELS[self.does]

    def ask(self, path: str, body: dict[str, Any], name: str) -> Any:
        """One request; the JSON of its answer, or None."""
        with self.client.post(
            path, json=body, headers=AUTHORIZATION, name=name, catch_response=True, timeout=600
        ) as answer:
            if answer.status_code == 200:
                return answer.json()
            self.refused(answer, name)
            return None

    def refused(self, answer: Any, name: str) -> None:
        """Tell a limit from a failure."""
        try:
            code = answer.json()["error"]["code"]
        except (ValueError, KeyError, TypeError):
            code = (answer.text or str(answer.error))[:200]
        after = answer.headers.get("retry-after") if answer.headers else None
        if answer.status_code == 429 and after:
            answer.success()
            _row("limited", f"{name}: {code}", 0)
            time.sleep(min(float(after), 10))
        else:
            answer.failure(f"{answer.status_code} {code}")

    def chat(self, **more: Any) -> dict[str, Any]:
        """The body of a chat."""
        prompt, completion = lengths(self.pick)
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": text(self.pick, prompt)}],
            "max_tokens": completion,
            "ignore_eos": True,
            **more,
        }


class Chat(Caller):
    """Waits for whole answers."""

    weight = 3

    @task  # type: ignore[untyped-decorator]
    def complete(self) -> None:
        self.ask("/v1/chat/completions", self.chat(), "chat")


class Streaming(Caller):
    """Reads answers as they are written."""

    weight = 5

    @task  # type: ignore[untyped-decorator]
    def stream(self) -> None:
        body = self.chat(stream=True, stream_options={"include_usage": True})
        began = time.perf_counter()
        first = last = 0.0
        tokens, done = 0, False
        with self.client.post(
            "/v1/chat/completions",
            json=body,
            headers=AUTHORIZATION,
            name="chat, streamed",
            stream=True,
            catch_response=True,
            timeout=600,
        ) as answer:
            if answer.status_code != 200:
                self.refused(answer, "chat, streamed")
                return
            for line in answer.iter_lines(chunk_size=None):
                if not line.startswith(b"data: "):
                    continue
                if line == b"data: [DONE]":
                    done = True
                    break
                event = json.loads(line[6:])
                if "error" in event:
                    answer.failure(f"in the stream: {event['error'].get('code')}")
                    return
                last = time.perf_counter()
                if event.get("choices") and not first:
                    first = last
                if event.get("usage"):
                    tokens = event["usage"]["completion_tokens"]
            if not done:
                answer.failure("the stream ended without [DONE]")
                return
        _row("stream", "first token", (first - began) * 1000)
        if tokens > 1 and last > first:
            _row("stream", "tokens a second (not ms)", (tokens - 1) / (last - first))


class Embeddings(Caller):
    """Embeds a few texts at once."""

    weight = 2
    does = "embed"

    @task  # type: ignore[untyped-decorator]
    def embed(self) -> None:
        texts = [text(self.pick, min(lengths(self.pick)[0], 100)) for _ in range(self.pick.randint(1, 8))]
        found = self.ask("/v1/embeddings", {"model": self.model, "input": texts}, "embeddings")
        if found is not None and len(found["data"]) != len(texts):
            raise AssertionError(f"{len(found['data'])} embeddings for {len(texts)} texts")


class Classify(Caller):
    """Classifies a few texts at once."""

    weight = 1
    does = "classify"

    @task  # type: ignore[untyped-decorator]
    def classify(self) -> None:
        texts = [text(self.pick, min(lengths(self.pick)[0], 100)) for _ in range(self.pick.randint(1, 4))]
        found = self.ask("/v1/classify", {"model": self.model, "input": texts}, "classify")
        if found is not None and len(found["data"]) != len(texts):
            raise AssertionError(f"{len(found['data'])} answers for {len(texts)} texts")


def _row(kind: str, name: str, value: float) -> None:
    events.request.fire(
        request_type=kind, name=name, response_time=value, response_length=0, exception=None, context={}
    )


@events.init.add_listener  # type: ignore[untyped-decorator]
def choose(environment: Any, **_: Any) -> None:
    """Find a model for each kind of user; leave out those that have none."""
    asked = Request(f"{environment.host.rstrip('/')}/v1/models", headers=AUTHORIZATION)
    try:
        with urlopen(asked, timeout=10) as answer:
            for model in json.loads(answer.read())["data"]:
                if model.get("ready"):
                    MODELS.setdefault(model["task"], model["id"])
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"GET {asked.full_url} failed: {error}. Set --host and $SLIPWAY_KEY.") from None
    lacking = [user for user in environment.user_classes if user.does not in MODELS]
    for user in lacking:
        if user.__name__ in (environment.parsed_options.user_classes or []):
            raise SystemExit(f"No ready model for {user.__name__}: it needs the task {user.does}.")
        print(f"{user.__name__} is left out: no ready model for the task {user.does}")
    environment.user_classes = [user for user in environment.user_classes if user not in lacking]
    if not environment.user_classes:
        raise SystemExit("No model is ready that any user could call.")


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def summarise(environment: Any, **_: Any) -> None:
    """The figures to look at first, and why requests failed."""
    stats = environment.stats
    first = stats.get("first token", "stream")
    speed = stats.get("tokens a second (not ms)", "stream")
    if first.num_requests:
        p50, p99 = (first.get_response_time_percentile(share) for share in (0.5, 0.99))
        print(f"Time to first token: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms over {first.num_requests} streams")
        print(f"Tokens a second of a stream: p50 {speed.get_response_time_percentile(0.5):,.0f}")
    for (name, kind), entry in sorted(stats.entries.items()):
        if kind == "limited":
            print(f"Limited: {entry.num_requests} x {name}")
    for error in stats.errors.values():
        print(f"Failed: {error.occurrences} x {error.name}: {error.error}")
    if not stats.total.num_requests:
        print("Nothing was answered.")
        environment.process_exit_code = 1
