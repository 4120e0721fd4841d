"""What proves to the API server who asks: a token, a client certificate, or what an exec plugin hands out."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from slipway.kube.errors import ConfigError

_READ_AGAIN = 60.0
"""Seconds that a token from a file is used before the file is read again."""
_PLUGIN_LIMIT = 60.0
"""Seconds that an exec plugin may take."""
_EXPIRY_MARGIN = 10.0
"""Seconds before it expires that a plugin's credential is replaced."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What one call is made with."""

    token: str | None = None
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """A client certificate and its key, as PEM."""

    def __repr__(self) -> str:
        return "Credential(…)"


class Credentials(Protocol):
    """Where credentials come from."""

    async def current(self) -> Credential:
        """What to call with now. Raises ConfigError."""
        ...

    def refused(self) -> None:
        """The API server answered 401: do not hand the same out again if there may be another."""
        ...


@dataclass(slots=True)
class FixedCredentials:
    """A credential that does not change; an empty one for who needs none."""

    credential: Credential = Credential()

    async def current(self) -> Credential:
        """The one there is."""
        return self.credential

    def refused(self) -> None:
        """There is no other."""


@dataclass(slots=True)
class TokenFile:
    """A token in a file that is replaced before it expires, as kubelet does with a service account's."""

    path: Path
    _token: str = ""
    _until: float = 0.0

    async def current(self) -> Credential:
        """The file's token; of a file that cannot be read now the last one."""
        now = time.monotonic()
        if now >= self._until or not self._token:
            try:
                self._token = self.path.read_text().strip()
            except OSError as error:
                if not self._token:
                    raise ConfigError(f"{self.path}: the token cannot be read: {error.strerror}") from error
            self._until = now + _READ_AGAIN
        return Credential(self._token)

    def refused(self) -> None:
        """Read the file anew at the next call."""
        self._until = 0.0


@dataclass(slots=True)
class ExecPlugin:
    """A program that hands out credentials (client.authentication.k8s.io).

    It is asked again when its credential expires or is refused. `cluster` is what it is told of the API
    server if the kubeconfig says `provideClusterInfo`.
    """

    command: list[str]
    environment: Mapping[str, str]
    api_version: str
    hint: str = ""
    cluster: Mapping[str, Any] | None = None
    _credential: Credential | None = None
    _expires: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> Credential:
        """The plugin's credential. Raises ConfigError with what it wrote if it fails."""
        async with self._lock:
            expired = self._expires is not None and time.time() >= self._expires - _EXPIRY_MARGIN
            credential = self._credential
            if credential is None or expired:
                credential = self._credential = self._read(await self._ask())
            return credential

    def refused(self) -> None:
        """Ask the plugin again at the next call."""
        self._credential = None

    async def _ask(self) -> bytes:
        spec: dict[str, Any] = {"interactive": False}
        if self.cluster is not None:
            spec["cluster"] = self.cluster
        told = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**self.environment, "KUBERNETES_EXEC_INFO": json.dumps(told)},
            )
        except OSError as error:
            hint = f" {self.hint}" if self.hint else ""
            raise ConfigError(f"{self.command[0]} cannot be run: {error.strerror}.{hint}") from error
        try:
            async with asyncio.timeout(_PLUGIN_LIMIT):
                written, complaint = await process.communicate()
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                raise ConfigError(f"{self.command[0]} gave no credential in {_PLUGIN_LIMIT:.0f} s") from error
            raise
        if process.returncode:
            said = complaint.decode(errors="replace").strip()[-500:]
            raise ConfigError(f"{self.command[0]} ended with {process.returncode}: {said}")
        return written

    def _read(self, written: bytes) -> Credential:
        try:
            status = json.loads(written)["status"]
            token, cert, key = (
                status.get(name) for name in ("token", "clientCertificateData", "clientKeyData")
            )
            expires = status.get("expirationTimestamp")
            self._expires = datetime.fromisoformat(expires).timestamp() if expires else None
            certificate = (cert.encode(), key.encode()) if cert and key else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.command[0]} wrote no ExecCredential with a status") from error
        if not isinstance(token, str) and certificate is None:
            raise ConfigError(f"{self.command[0]} gave neither a token nor a client certificate")
        return Credential(token, certificate)


def load_certificate(context: ssl.SSLContext, certificate: tuple[bytes, bytes]) -> None:
    """Have `context` show a client certificate. Raises ConfigError."""
    # The ssl module reads certificates from files only.
    with TemporaryDirectory(prefix="slipway-kube-") as folder:
        file = Path(folder) / "client.pem"
        file.touch(mode=0o600)
        file.write_bytes(certificate[0] + b"\n" + certificate[1])
        try:
            context.load_cert_chain(file)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"the client certificate or its key cannot be used: {error}") from error
