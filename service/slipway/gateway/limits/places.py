"""Where a Redis is: its URL read once, what it does not know refused at start."""

import ssl
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import parse_url


class RedisURLError(ValueError):
    """A URL of Redis that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """A Redis, as a connection needs it."""

    host: str
    port: int
    path: str | None
    """Of a Unix socket."""
    database: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @property
    def login(self) -> tuple[str, ...]:
        """The command that says who asks; () where nobody wants to know."""
        if not self.password:
            return ()
        return ("AUTH", self.user, self.password) if self.user else ("AUTH", self.password)


def place_of(url: str) -> Place:
    """Read `redis://`, `rediss://` (TLS) and `unix://` URLs.

    After `?` there may be `db`, and with TLS `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` (paths) and
    `ssl_cert_reqs` (`required`, or `none` for a server that nobody vouches for). Raises RedisURLError.
    """
    try:
        options: dict[str, Any] = {**parse_url(url)}
    except ValueError as error:
        raise RedisURLError(f"{error}") from None
    options.pop("connection_class", None)
    place = Place(
        options.pop("host", "localhost"),
        options.pop("port", 6379),
        options.pop("path", None),
        int(options.pop("db", None) or 0),
        options.pop("username", None),
        options.pop("password", None),
        _tls(options) if url.startswith("rediss://") else None,
    )
    if options:
        raise RedisURLError(f"options that are not known: {', '.join(sorted(options))}")
    return place


def _tls(options: dict[str, Any]) -> ssl.SSLContext:
    authorities, need = options.pop("ssl_ca_certs", None), options.pop("ssl_cert_reqs", "required")
    certificate, key = options.pop("ssl_certfile", None), options.pop("ssl_keyfile", None)
    if need not in ("required", "none"):
        raise RedisURLError("ssl_cert_reqs must be `required` or `none`")
    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise RedisURLError(f"its certificates cannot be read: {error}") from None
    if need == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
