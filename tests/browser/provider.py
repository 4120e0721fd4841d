"""A small sign-in provider after OpenID Connect: it checks what the console has to send, and gives tokens."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Behaviour:
    """What the provider does; a test changes it."""

    seconds: int = 3600
    """How long a token lives."""
    refuse: str = ""
    """The error that sign-ins end with."""
    state: str | None = None
    """Sends this one back instead of the console's."""
    nonce: str | None = None
    """Puts this one into tokens instead of the console's."""
    begun: list[dict[str, str]] = field(default_factory=list)
    exchanged: list[dict[str, str]] = field(default_factory=list)
    count: int = 0


class Provider(ThreadingHTTPServer):
    """Serves `/authorize` and `/token`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = Behaviour()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def description(self) -> dict[str, Any]:
        """What a gateway says of it."""
        return {
            "issuer": self.origin,
            "client_id": "slipway-console",
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "scopes": ["openid", "email", "offline_access"],
        }


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        asked = dict(parse_qsl(urlsplit(self.path).query))
        behaviour.begun.append(asked)
        answer = {"state": behaviour.state or asked["state"], "code": f"code-{len(behaviour.begun)}"}
        if behaviour.refuse:
            answer = {"state": asked["state"], "error": behaviour.refuse}
        self.send_response(302)
        self.send_header("location", f"{asked['redirect_uri']}?{urlencode(answer)}")
        self.end_headers()

    def do_POST(self) -> None:
        behaviour = self.server.behaviour
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = dict(parse_qsl(body))
        behaviour.exchanged.append(form)
        asked = behaviour.begun[-1]
        if form["grant_type"] == "authorization_code":
            challenge = encoded(hashlib.sha256(form["code_verifier"].encode()).digest())
            good = challenge == asked["code_challenge"] and form["code"] == f"code-{len(behaviour.begun)}"
        else:
            good = form["refresh_token"] == f"refresh-{behaviour.count}"
        if not good:
            self._json(400, {"error": "invalid_grant", "error_description": "The code is not good"})
            return
        behaviour.count += 1
        claims = {
            "sub": "ann",
            "nonce": behaviour.nonce or asked["nonce"],
            "exp": int(time.time()) + behaviour.seconds,
            "count": behaviour.count,
        }
        token = f"{encoded(b'{}')}.{encoded(json.dumps(claims).encode())}.{encoded(b'signature')}"
        self._json(200, {"id_token": token, "refresh_token": f"refresh-{behaviour.count}"})

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _json(self, status: int, body: dict[str, Any]) -> None:
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
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
