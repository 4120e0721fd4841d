"""Where the API server is and how to talk to it: the pod's service account, or a kubeconfig."""

import base64
import binascii
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from slipway.kube.credentials import (
    Credential,
    Credentials,
    ExecPlugin,
    FixedCredentials,
    TokenFile,
    load_certificate,
)
from slipway.kube.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Part = dict[str, Any]


@dataclass(slots=True)
class Connection:
    """One API server, and who asks it."""

    server: str
    """`https://host:port`, with a path in front of the API if there is one."""
    namespace: str = "default"
    """Where objects are sought that are named without a namespace."""
    credentials: Credentials = field(default_factory=FixedCredentials)
    ca: str | None = None
    """PEM of who may sign the server's certificate; None: the system's list."""
    insecure: bool = False
    """Take any certificate of the server."""
    server_name: str | None = None
    """The name that its certificate must have, if not the host's."""
    _contexts: dict[tuple[bytes, bytes] | None, ssl.SSLContext] = field(default_factory=dict)

    def tls(self, credential: Credential) -> ssl.SSLContext | None:
        """The TLS settings for calls with `credential`; None for plain HTTP. Raises ConfigError."""
        if not self.server.startswith("https:"):
            return None
        context = self._contexts.get(credential.certificate)
        if context is None:
            context = self._context(credential.certificate)
            self._contexts = {credential.certificate: context}
        return context

    def _context(self, certificate: tuple[bytes, bytes] | None) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cadata=self.ca)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"the certificate authority of {self.server} cannot be read: {error}"
            ) from error
        # Many clusters' own authorities lack the extensions that Python 3.13 has begun to insist on.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            load_certificate(context, certificate)
        return context


def load(
    environ: Mapping[str, str], context: str | None = None, service_account: Path = SERVICE_ACCOUNT
) -> Connection:
    """The connection that `environ` describes.

    $KUBECONFIG (one file or several) or a `context` asked for come first, then a pod's service account, then
    ~/.kube/config. Raises ConfigError.
    """
    listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(":") if part]
    if not listed and context is None and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ, service_account)
    return from_kubeconfig(
        listed or [Path(environ.get("HOME") or Path.home()) / ".kube" / "config"], context, environ
    )


def in_cluster(environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Connection:
    """The connection of a pod, from what kubelet puts into it. Raises ConfigError."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not (service_account / "token").exists():
        raise ConfigError(f"{service_account} has no token: give the pod a service account that is mounted")
    namespace = service_account / "namespace"
    return Connection(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace.read_text().strip() if namespace.exists() else "default",
        TokenFile(service_account / "token"),
        _read(service_account / "ca.crt").decode(),
    )


def from_kubeconfig(
    paths: list[Path], context: str | None = None, environ: Mapping[str, str] | None = None
) -> Connection:
    """The connection of a context (default: the current one) in kubeconfig files.

    Of what several files name alike the first one's counts, as with kubectl. Raises ConfigError.
    """
    contexts: dict[str, tuple[Part, Path]] = {}
    clusters: dict[str, tuple[Part, Path]] = {}
    users: dict[str, tuple[Part, Path]] = {}
    current = context or ""
    for path in (path for path in paths if path.exists() or len(paths) == 1):
        document = _document(path)
        for section, single, into in (
            ("contexts", "context", contexts),
            ("clusters", "cluster", clusters),
            ("users", "user", users),
        ):
            for entry in document.get(section) or []:
                if isinstance(entry, dict) and isinstance(entry.get(single), dict):
                    into.setdefault(str(entry.get("name")), (entry[single], path.parent))
        current = current or str(document.get("current-context") or "")
    where = ":".join(map(str, paths))
    if not current:
        raise ConfigError(f"{where} has no current-context: choose one with kubectl config use-context NAME")
    chosen, _ = _named(contexts, current, "context", where)
    cluster, folder = _named(clusters, str(chosen.get("cluster")), "cluster", where)
    connection = _cluster(cluster, folder)
    connection.namespace = str(chosen.get("namespace") or "default")
    if chosen.get("user"):
        user, folder = _named(users, str(chosen["user"]), "user", where)
        connection.credentials = _credentials(user, folder, connection, environ or {})
    return connection


def _cluster(cluster: Part, folder: Path) -> Connection:
    server = str(cluster.get("server") or "")
    if urlsplit(server).scheme not in ("https", "http") or not urlsplit(server).hostname:
        raise ConfigError(f"the cluster's server {server!r} is no http(s) address")
    if cluster.get("proxy-url"):
        raise ConfigError("proxy-url is not supported: name an address that is reached directly")
    ca = _data(cluster, "certificate-authority", folder)
    return Connection(
        server.rstrip("/"),
        ca=ca.decode() if ca else None,
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=cluster.get("tls-server-name"),
    )


def _credentials(user: Part, folder: Path, connection: Connection, environ: Mapping[str, str]) -> Credentials:
    if user.get("exec"):
        return _plugin(user["exec"], folder, connection, environ)
    if user.get("auth-provider") or user.get("username"):
        raise ConfigError("auth-provider and user names are not supported any more: use an exec plugin")
    cert, key = _data(user, "client-certificate", folder), _data(user, "client-key", folder)
    if (cert is None) != (key is None):
        raise ConfigError("a client certificate needs its key, and a key its certificate")
    if cert is not None and key is not None:
        return FixedCredentials(Credential(user.get("token"), (cert, key)))
    if user.get("tokenFile"):
        return TokenFile(folder / user["tokenFile"])
    return FixedCredentials(Credential(user.get("token")))


def _plugin(plugin: Part, folder: Path, connection: Connection, environ: Mapping[str, str]) -> ExecPlugin:
    command = str(plugin.get("command") or "")
    if not command:
        raise ConfigError("the exec plugin has no command")
    if "/" in command:
        command = str(folder / command)
    cluster = None
    if plugin.get("provideClusterInfo"):
        cluster = {"server": connection.server, "insecure-skip-tls-verify": connection.insecure}
        if connection.ca:
            cluster["certificate-authority-data"] = base64.b64encode(connection.ca.encode()).decode()
    more = {entry["name"]: str(entry["value"]) for entry in plugin.get("env") or []}
    return ExecPlugin(
        [command, *(str(part) for part in plugin.get("args") or [])],
        {**environ, **more},
        str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1"),
        str(plugin.get("installHint") or ""),
        cluster,
    )


def _data(part: Part, name: str, folder: Path) -> bytes | None:
    """What `NAME-data` holds in base64, or the file that `NAME` names, seen from the kubeconfig's folder."""
    inline = part.get(f"{name}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ConfigError(f"{name}-data is no base64") from error
    return _read(folder / part[name]) if part.get(name) else None


def _named(parts: dict[str, tuple[Part, Path]], name: str, what: str, where: str) -> tuple[Part, Path]:
    if name not in parts:
        raise ConfigError(f"{where} has no {what} {name!r}")
    return parts[name]


def _document(path: Path) -> Part:
    try:
        document = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no kubeconfig")
    return document


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
