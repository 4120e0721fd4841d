"""A small sign-in provider after OpenID Connect: it checks what the console has to send, and gives tokens."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from integration.identity.provider import AUDIENCE, _Handler
from integration.identity.provider import Provider as Signer


@dataclass
class Behaviour:
    """What the provider does; a test changes it."""

    seconds: int = 3600
    """How long a token lives."""
    subject: str = "ann"
    refuse: str = ""
    """The error that sign-ins end with."""
    state: str | None = None
    """Sends this one back instead of the console's."""
    nonce: str | None = None
    """Puts this one into tokens instead of the console's."""
    begun: list[dict[str, str]] = field(default_factory=list)
    exchanged: list[dict[str, str]] = field(default_factory=list)
    count: int = 0


class Provider(Signer):
    """Serves `/authorize` and `/token` beside what it publishes."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviour = Behaviour()
        self.RequestHandlerClass = _SigningIn

    @property
    def description(self) -> dict[str, Any]:
        """What a gateway says of it."""
        return {
            "issuer": self.issuer,
            "client_id": AUDIENCE,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "scopes": ["openid", "email", "offline_access"],
        }


class _SigningIn(_Handler):
    server: Provider

    def do_GET(self) -> None:  # noqa: N802 - the library names it
        if not self.path.startswith("/authorize"):
            super().do_GET()
            return
        behaviour = self.server.behaviour
        asked = dict(parse_qsl(urlsplit(self.path).query))
        behaviour.begun.append(asked)
        answer = {"state": behaviour.state or asked["state"], "code": f"code-{len(behaviour.begun)}"}
        if behaviour.refuse:
            answer = {"state": asked["state"], "error": behaviour.refuse}
        self.send_response(302)
        self.send_header("location", f"{asked['redirect_uri']}?{urlencode(answer)}")
        self.end_headers()

    def do_POST(self) -> None:  # noqa: N802 - the library names it
        behaviour = self.server.behaviour
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = dict(parse_qsl(body))
        behaviour.exchanged.append(form)
        asked = behaviour.begun[-1]
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            good = challenge == asked["code_challenge"] and form["code"] == f"code-{len(behaviour.begun)}"
        else:
            good = form["refresh_token"] == f"refresh-{behaviour.count}"
        if not good:
            self._answer(400, {"error": "invalid_grant", "error_description": "The code is not good"})
            return
        behaviour.count += 1
        token = self.server.token(
            sub=behaviour.subject,
            nonce=behaviour.nonce or asked["nonce"],
            exp=int(time.time()) + behaviour.seconds,
            count=behaviour.count,
        )
        self._answer(200, {"id_token": token, "refresh_token": f"refresh-{behaviour.count}"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("access-control-allow-origin", "*")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Runs a provider on a free port."""
    provider = Provider()
    yield provider
    provider.end()
