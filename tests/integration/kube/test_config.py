"""Kubeconfigs and service accounts, and connections by them to a server that asks for certificates."""

import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from integration.kube.authorities import Authority
from slipway.kube import Client
from slipway.kube.calls import CallLimits
from slipway.kube.config import Connection, load
from slipway.kube.errors import ConfigError, UnauthorizedError, UnreachableError

AUTHORITY = Authority()


class Guarded:
    """A server with a certificate that says who asks: the client certificate's name, and the token."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        """Tokens it accepts; none: every one."""
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.accepted and token not in self.accepted:
            return web.json_response({"message": "who are you?"}, status=401)
        shown = request.transport.get_extra_info("peercert") or {}
        subject = dict(pair for parts in shown.get("subject", ()) for pair in parts)
        return web.json_response({"name": subject.get("commonName"), "token": token})

    async def asks(self, connection: Connection) -> tuple[str | None, str]:
        async with Client(connection, limits=CallLimits(attempts=2, first_wait=0.001)) as client:
            said = await client.request("GET", "/version")
            return said["name"], said["token"]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    certificate, key = AUTHORITY.sign("api.example")
    (tmp_path / "server.pem").write_bytes(certificate + key)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(tmp_path / "server.pem")
    guarded = Guarded()
    application = web.Application()
    application.router.add_get("/version", guarded.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    guarded.port = runner.addresses[0][1]
    yield guarded
    await runner.cleanup()


def inline(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(path: Path, port: int, user: dict[str, Any], **cluster: Any) -> dict[str, str]:
    """Write a kubeconfig; the environment that names it."""
    chosen = {"certificate-authority-data": inline(AUTHORITY.certificate), **cluster}
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "models"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", **chosen}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return {"KUBECONFIG": str(path)}


async def test_certificates_are_taken_from_the_kubeconfig(guarded: Guarded, tmp_path: Path) -> None:
    certificate, key = AUTHORITY.sign("alice")
    user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
    connection = load(write(tmp_path / "config", guarded.port, user))
    assert connection.namespace == "models"
    assert await guarded.asks(connection) == ("alice", "")


async def test_certificates_are_taken_from_files_beside_the_kubeconfig(
    guarded: Guarded, tmp_path: Path
) -> None:
    certificate, key = AUTHORITY.sign("bob")
    (tmp_path / "bob.crt").write_bytes(certificate)
    (tmp_path / "bob.key").write_bytes(key)
    user = {"client-certificate": "bob.crt", "client-key": str(tmp_path / "bob.key")}
    environment = write(
        tmp_path / "config",
        guarded.port,
        user,
        **{"certificate-authority-data": "", "certificate-authority": "ca.pem"},
    )
    assert await guarded.asks(load(environment)) == ("bob", "")


async def test_a_server_of_another_authority_is_not_spoken_to(guarded: Guarded, tmp_path: Path) -> None:
    other = {"certificate-authority-data": inline(Authority().certificate)}
    with pytest.raises(UnreachableError, match="certificate"):
        await guarded.asks(load(write(tmp_path / "config", guarded.port, {"token": "t"}, **other)))
    insecure = {"certificate-authority-data": "", "insecure-skip-tls-verify": True}
    assert await guarded.asks(load(write(tmp_path / "config", guarded.port, {"token": "t"}, **insecure))) == (
        None,
        "t",
    )


async def test_the_server_must_have_the_name_that_is_asked_for(guarded: Guarded, tmp_path: Path) -> None:
    right = write(tmp_path / "right", guarded.port, {"token": "t"}, **{"tls-server-name": "api.example"})
    wrong = write(tmp_path / "wrong", guarded.port, {"token": "t"}, **{"tls-server-name": "other.example"})
    assert await guarded.asks(load(right)) == (None, "t")
    with pytest.raises(UnreachableError, match="certificate"):
        await guarded.asks(load(wrong))


async def test_a_token_file_is_read_again_when_its_token_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    connection = load(write(tmp_path / "config", guarded.port, {"tokenFile": "token"}))
    assert await guarded.asks(connection) == (None, "old")
    token.write_text("new\n")
    guarded.accepted = {"new"}
    assert await guarded.asks(connection) == (None, "new")
    guarded.accepted = {"newer"}
    with pytest.raises(UnauthorizedError, match="who are you"):
        await guarded.asks(connection)


async def test_a_pod_uses_its_service_account(guarded: Guarded, tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("pod")
    (account / "namespace").write_text("slipway")
    (account / "ca.crt").write_bytes(AUTHORITY.certificate)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(guarded.port)}
    connection = load(environment, service_account=account)
    assert connection.namespace == "slipway"
    assert await guarded.asks(connection) == (None, "pod")
    with pytest.raises(ConfigError, match="service account"):
        load(environment, service_account=tmp_path / "none")


PLUGIN = """
import json, os, sys, pathlib
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
count = pathlib.Path(os.environ["COUNT"])
count.write_text(count.read_text() + "x" if count.exists() else "x")
status = {"token": f"{sys.argv[1]}-{len(count.read_text())}", "expirationTimestamp": os.environ["EXPIRES"]}
if os.environ.get("FAIL"):
    sys.exit("log in first")
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def plugin(tmp_path: Path, **environment: str) -> dict[str, Any]:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    chosen = {"COUNT": str(tmp_path / "count"), "EXPIRES": "2999-01-01T00:00:00Z", **environment}
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(tmp_path / "plugin.py"), "handed"],
            "env": [{"name": name, "value": value} for name, value in chosen.items()],
            "interactiveMode": "Never",
        }
    }


async def test_a_plugin_hands_out_the_token_until_it_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    connection = load(write(tmp_path / "config", guarded.port, plugin(tmp_path)))
    assert await guarded.asks(connection) == (None, "handed-1")
    assert await guarded.asks(connection) == (None, "handed-1")
    guarded.accepted = {"handed-2"}
    assert await guarded.asks(connection) == (None, "handed-2")


async def test_a_plugin_is_asked_again_once_its_token_has_expired(guarded: Guarded, tmp_path: Path) -> None:
    user = plugin(tmp_path, EXPIRES="2001-01-01T00:00:00Z")
    connection = load(write(tmp_path / "config", guarded.port, user))
    assert await guarded.asks(connection) == (None, "handed-1")
    assert await guarded.asks(connection) == (None, "handed-2")


async def test_a_plugin_that_fails_says_why(guarded: Guarded, tmp_path: Path) -> None:
    connection = load(write(tmp_path / "config", guarded.port, plugin(tmp_path, FAIL="yes")))
    with pytest.raises(ConfigError, match="log in first"):
        await guarded.asks(connection)


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    write(tmp_path / "first", 1, {"token": "first"})
    second = {
        "current-context": "there",
        "contexts": [{"name": "there", "context": {"cluster": "c", "user": "v"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://never.example"}}],
        "users": [{"name": "v", "user": {"token": "second"}}],
    }
    (tmp_path / "second").write_text(json.dumps(second))
    environment = {"KUBECONFIG": f"{tmp_path}/first:{tmp_path}/missing:{tmp_path}/second"}
    assert load(environment).namespace == "models"
    there = load(environment, "there")
    assert (there.server, there.namespace) == ("https://127.0.0.1:1", "default")
    with pytest.raises(ConfigError, match="no context 'nowhere'"):
        load(environment, "nowhere")


@pytest.mark.parametrize(
    ("user", "cluster", "sentence"),
    [
        ({"auth-provider": {"name": "gcp"}}, {}, "exec plugin"),
        ({"client-certificate-data": inline(b"x")}, {}, "needs its key"),
        ({}, {"proxy-url": "http://proxy"}, "proxy-url"),
        ({}, {"server": "nonsense"}, "no http"),
        ({}, {"certificate-authority-data": "%%%"}, "no base64"),
        ({}, {"certificate-authority-data": "", "certificate-authority": "none.pem"}, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_mend(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(write(tmp_path / "config", 1, user, **cluster))


def test_no_file_and_no_context_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load({"HOME": str(tmp_path)})
    (tmp_path / "config").write_text("contexts: []")
    with pytest.raises(ConfigError, match="current-context"):
        load({"KUBECONFIG": str(tmp_path / "config")})


def test_a_credential_does_not_show_itself(tmp_path: Path) -> None:
    connection = load(write(tmp_path / "config", 1, {"token": "very-secret"}))
    assert "very-secret" not in repr(connection)
