"""An OpenID provider: real keys, discovery and key set over HTTP, tokens signed as asked."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "slipway-console"


class Provider(ThreadingHTTPServer):
    """Serves until `end`; `keys` are the private keys by id, of which the public ones are published."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.keys: dict[str, tuple[str, Any]] = {}
        self.fetches = 0
        self.add("rsa-1", "RS256")
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def add(self, kid: str, algorithm: str) -> None:
        """Publish another key."""
        self.keys[kid] = (algorithm, _new(algorithm))

    def token(self, kid: str = "rsa-1", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good but for what is asked; a claim of None is left out."""
        now = int(time.time())
        every = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, **claims}
        algorithm, key = self.keys[kid]
        payload = {name: value for name, value in every.items() if value is not None}
        return jwt.encode(payload, key, algorithm, headers={"kid": kid, **(headers or {})})

    def public_pem(self, kid: str = "rsa-1") -> bytes:
        """What an attacker knows of a key."""
        public = self.keys[kid][1].public_key()
        pem: bytes = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


def _new(algorithm: str) -> Any:
    match algorithm[:2]:
        case "RS":
            return rsa.generate_private_key(65537, 2048)
        case "ES":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        issuer = self.server.issuer
        if self.path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": issuer,
                    "jwks_uri": f"{issuer}/keys",
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                }
            )
        elif self.path == "/keys":
            self.server.fetches += 1
            self._json({"keys": [self._jwk(kid) for kid in self.server.keys]})
        else:
            self.send_error(404)

    def _jwk(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.server.keys[kid]
        maker: Any = jwt.get_algorithm_by_name(algorithm)
        document: dict[str, Any] = json.loads(maker.to_jwk(key.public_key()))
        document.pop("key_ops", None)
        return {**document, "kid": kid, "alg": algorithm, "use": "sig"}

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence."""
