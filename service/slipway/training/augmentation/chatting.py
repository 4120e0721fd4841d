"""A model behind an OpenAI-compatible API, asked for one text at a time."""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from slipway.training.errors import DataError

_ATTEMPTS = 6
_LONGEST_WAIT_S = 30.0
_PASSING = (408, 409, 429, 500, 502, 503, 504)


class ChatModel:
    """Asks `/chat/completions`.

    Args:
        url: of the API, such as `http://gateway:8000/v1`
        model: its served name
        temperature: 0 for the likeliest text
        max_tokens: of a reply
        key_variable: the environment variable that holds the API's key; no key is sent where it is unset
        timeout: seconds that a reply may take
        wait: how a pause in seconds is made
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        temperature: float,
        max_tokens: int,
        key_variable: str,
        timeout: float = 300.0,
        environ: Mapping[str, str] = os.environ,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._body = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
        self._headers = {"Content-Type": "application/json", "User-Agent": "slipway"}
        if key := environ.get(key_variable):
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout = timeout
        self._wait = wait

    @property
    def identity(self) -> str:
        """Tells its texts from those of any other model."""
        return json.dumps([self._url, self._body], sort_keys=True)

    def write(self, instructions: str, text: str, seed: int) -> str:
        """What the model writes.

        Args:
            instructions: the system's message
            text: the user's message
            seed: below 2**31; the same again asks for the same text, where the server can do that

        Raises:
            DataError: it cannot be reached or refuses, also when tried again.
        """
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": text}]
        body = json.dumps({**self._body, "messages": messages, "seed": seed}).encode()
        for attempt in range(_ATTEMPTS):
            pause = min(2.0**attempt, _LONGEST_WAIT_S)
            try:
                request = Request(self._url, body, self._headers)  # noqa: S310 - the user names the API
                with urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                    return _content(json.load(answer))
            except HTTPError as error:
                failure = f"answers {error.code}: {error.read(500).decode(errors='replace')}"
                if error.code not in _PASSING:
                    break
                asked = error.headers.get("Retry-After") or ""
                pause = min(float(asked), _LONGEST_WAIT_S) if asked.isdigit() else pause
            except (URLError, OSError) as error:
                failure = f"cannot be reached ({getattr(error, 'reason', error)})"
            except (KeyError, IndexError, TypeError, ValueError) as error:
                failure = f"answers what is no chat completion ({error!r})"
                break
            if attempt + 1 < _ATTEMPTS:
                self._wait(pause)
        raise DataError(
            f"The model at {self._url} {failure}. What it has made so far is kept.", "ModelFailed"
        )


def _content(document: Any) -> str:
    content = document["choices"][0]["message"]["content"]
    if not isinstance(content, str):
        raise TypeError("its content is no text")
    return content
