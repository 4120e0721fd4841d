"""The gateway as the command line calls it, by the standard library alone."""

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import click

from slipway.cli.options import state_folder

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 600.0


def url_options(command: Any) -> Any:
    """`--url` and `--api-key`, which also come from the environment."""
    for option in (
        click.option(
            "--api-key",
            envvar="SLIPWAY_API_KEY",
            show_envvar=True,
            help="Key to call it with; the run's own if left out.",
        ),
        click.option(
            "--url",
            envvar="SLIPWAY_URL",
            show_envvar=True,
            help="Gateway's address; that of the run in the state folder if left out.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Gateway:
    """A gateway and the key to call it with."""

    url: str
    key: str | None

    def models(self) -> list[dict[str, Any]]:
        """The models that the key may call."""
        with self._call("GET", "/v1/models") as answer:
            value = answer.json()
        data = value.get("data") if isinstance(value, dict) else None
        return [each for each in data or [] if isinstance(each, dict) and "id" in each]

    def chat(self, body: dict[str, Any]) -> Iterator[str]:
        """The pieces of the answer's text as they come."""
        with self._call("POST", "/v1/chat/completions", body | {"stream": True}) as answer:
            yield from answer.deltas()

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        """The JSON that a path answers with."""
        with self._call("GET", f"{path}?{urlencode(query)}" if query else path) as answer:
            return answer.json()

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that a change answers with."""
        with self._call(method, path, body) as answer:
            return answer.json()

    def metrics(self) -> str:
        """Prometheus' text."""
        with self._call("GET", "/metrics") as answer:
            return answer.text()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> "Answer":
        parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.ClickException(f"{self.url} is not an address; write it as http://HOST:PORT.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        base = parts.path.rstrip("/").removesuffix("/v1")
        headers = {"Content-Type": "application/json", "User-Agent": "slipway"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection: http.client.HTTPConnection | None = None
        try:
            connection = kind(parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S)
            connection.connect()
            connection.sock.settimeout(ANSWER_TIMEOUT_S)
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, base + path, data, headers)
            response = connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException) as error:
            if connection is not None:
                connection.close()
            raise click.ClickException(self._unreachable(error)) from None
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        answer = Answer(connection, response)
        if response.status not in (200, 201):
            with answer:
                raise click.ClickException(answer.refusal())
        return answer

    def _unreachable(self, error: Exception) -> str:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return (
            f"The gateway at {self.url} cannot be reached ({why}): is it running? `slipway status` shows it."
        )


class Answer:
    """One answer of the gateway; closes its connection."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def json(self) -> Any:
        try:
            return json.loads(self._response.read())
        except (OSError, ValueError, http.client.HTTPException):
            raise click.ClickException("The gateway's answer cannot be read: is this a gateway?") from None

    def text(self) -> str:
        """The whole answer."""
        try:
            return self._response.read().decode()
        except (OSError, ValueError, http.client.HTTPException):
            raise click.ClickException("The gateway's answer cannot be read: is this a gateway?") from None

    def refusal(self) -> str:
        """What the error envelope says, as a sentence."""
        text = ""
        with suppress(OSError, ValueError, http.client.HTTPException):
            text = _message(json.loads(self._response.read(65536)))
        return f"{text or self._response.reason or 'The gateway refused the call.'} ({self._response.status})"

    def deltas(self) -> Iterator[str]:
        """The text in each event of a streamed chat."""
        ended = False
        try:
            for line in self._response:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    ended = True
                    break
                event = json.loads(data)
                if message := _message(event):
                    raise click.ClickException(message)
                for choice in event.get("choices") or []:
                    text = (choice.get("delta") or {}).get("content")
                    if isinstance(text, str) and text:
                        yield text
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            raise click.ClickException(f"The answer was cut off ({error or type(error).__name__}).") from None
        if not ended:
            raise click.ClickException("The answer was cut off: the gateway closed the connection.")


def _message(envelope: Any) -> str:
    error = envelope.get("error") if isinstance(envelope, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if message else ""


def gateway(state: Path | None, url: str | None, key: str | None) -> Gateway:
    """The gateway of `--url` or of the run in the state folder, with a key for it."""
    folder = state_folder(state)
    own = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        own = json.loads(folder.status.read_text(encoding="utf-8"))["gateway"]["url"]
    if url is None and own is None:
        raise click.ClickException(
            f"No run is known in {folder.root}: start one with `slipway up`, or name a gateway with --url."
        )
    if key is None and url in (None, own):
        # A run's own key goes to its own gateway, never to another address.
        key = _own_key(folder.secrets)
    return Gateway((url or str(own)).rstrip("/"), key)


def _own_key(secrets: Path) -> str | None:
    paths = sorted(secrets.glob("apikey-*"), key=lambda path: path.name != "apikey-local")
    for path in paths:
        with suppress(OSError, UnicodeDecodeError):
            if key := path.read_text(encoding="utf-8").strip():
                return key
    return None
