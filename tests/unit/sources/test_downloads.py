import threading
from pathlib import Path

import pytest

from slipway.sources import (
    AccessDeniedError,
    DigestMismatchError,
    DiskFullError,
    FetchCancelledError,
    Progress,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.downloads import download
from slipway.sources.origins import Job
from unit.sources import models
from unit.sources.webserver import Fault, Resource, WebServer

CONTENT = models.safetensors(1_000_000)
DIGEST = f"sha256:{models.sha256(CONTENT)}"


def job(
    *, cancelled: threading.Event | None = None, reports: list[Progress] | None = None, free: int = 1 << 40
) -> Job:
    def require(size: int) -> None:
        if size > free:
            raise DiskFullError("full")

    return Job((reports if reports is not None else []).append, cancelled, require, retry_wait_s=0.001)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "f.bin"


@pytest.fixture
def server(web: WebServer) -> WebServer:
    web.resources["/f"] = Resource(CONTENT, etag='"1"')
    return web


def test_downloads_and_counts(server: WebServer, target: Path) -> None:
    reports: list[Progress] = []
    download(f"{server.url}/f", target, digest=DIGEST, job=job(reports=reports))
    assert target.read_bytes() == CONTENT
    assert {p.name for p in target.parent.iterdir()} == {"f.bin"}
    assert reports[0].done == 0
    assert reports[0].total == len(CONTENT)


def test_goes_on_where_the_connection_was_cut(server: WebServer, target: Path) -> None:
    server.faults["/f"].extend([Fault(300_000), Fault(200_000)])
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert target.read_bytes() == CONTENT
    assert [request.range for request in server.asked("/f")] == [None, "bytes=300000-", "bytes=500000-"]


def test_goes_on_with_what_an_earlier_process_has_left(server: WebServer, target: Path) -> None:
    part = target.with_name("f.bin.part")
    part.write_bytes(CONTENT[:700_000])
    part.with_name("f.bin.part.json").write_text('{"validator": "\\"1\\""}')
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert target.read_bytes() == CONTENT
    assert [request.range for request in server.asked("/f")] == ["bytes=700000-"]


def test_starts_over_when_the_file_changed_on_the_server(server: WebServer, target: Path) -> None:
    part = target.with_name("f.bin.part")
    part.write_bytes(b"x" * 700_000)
    part.with_name("f.bin.part.json").write_text('{"validator": "\\"0\\""}')
    download(f"{server.url}/f", target, job=job())
    assert target.read_bytes() == CONTENT


def test_does_not_go_on_unless_it_can_tell_that_it_is_the_same_file(server: WebServer, target: Path) -> None:
    server.resources["/f"].etag = None
    server.faults["/f"].append(Fault(300_000))
    download(f"{server.url}/f", target, job=job())
    assert target.read_bytes() == CONTENT
    assert [request.range for request in server.asked("/f")] == [None, None]


def test_takes_the_whole_file_from_a_server_without_ranges(server: WebServer, target: Path) -> None:
    server.resources["/f"].ranges = False
    server.faults["/f"].append(Fault(300_000))
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 500_000, CONTENT + b"x", b"x" * len(CONTENT)])
def test_removes_a_spoilt_part_and_starts_over(server: WebServer, target: Path, left: bytes) -> None:
    target.with_name("f.bin.part").write_bytes(left)
    download(f"{server.url}/f", target, digest=DIGEST, size=len(CONTENT), job=job())
    assert target.read_bytes() == CONTENT


def test_refuses_another_content_than_promised(server: WebServer, target: Path) -> None:
    with pytest.raises(DigestMismatchError, match="instead of"):
        download(f"{server.url}/f", target, digest=f"sha256:{'0' * 64}", job=job())
    assert not list(target.parent.iterdir())


def test_checks_the_id_of_a_git_blob(server: WebServer, target: Path) -> None:
    server.resources["/f"].content = b"hello\n"
    download(f"{server.url}/f", target, digest="git:ce013625030ba8dba906f756967f9e9ca394464a", job=job())
    with pytest.raises(DigestMismatchError):
        download(f"{server.url}/f", target, digest="git:" + "0" * 40, job=job())


def test_waits_for_an_overloaded_server(server: WebServer, target: Path) -> None:
    server.faults["/f"].extend([503, 429, 500])
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "error"), [(401, AccessDeniedError), (403, AccessDeniedError), (404, SourceNotFoundError)]
)
def test_does_not_ask_again_after_a_no(
    server: WebServer, target: Path, status: int, error: type[Exception]
) -> None:
    server.resources["/f"] = Resource(status=status)
    with pytest.raises(error):
        download(f"{server.url}/f?token=secret", target, job=job())
    assert len(server.requests) == 1


def test_gives_up_when_nothing_comes_and_keeps_what_came(server: WebServer, target: Path) -> None:
    server.faults["/f"].append(Fault(300_000))
    server.faults["/f"].extend([Fault(0)] * 20)
    with pytest.raises(UnreachableError, match="kept"):
        download(f"{server.url}/f?token=secret", target, digest=DIGEST, job=job())
    assert target.with_name("f.bin.part").stat().st_size == 300_000
    server.faults.clear()
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert server.requests[-1].range == "bytes=300000-"


def test_tells_no_secret(server: WebServer, target: Path) -> None:
    host = server.url.removeprefix("http://")
    with pytest.raises(SourceNotFoundError) as caught:
        download(f"http://me:password@{host}/none?token=secret", target, job=job())
    assert "password" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert server.requests[0].authorization == "Basic bWU6cGFzc3dvcmQ="


def test_takes_no_credentials_to_another_server(server: WebServer, target: Path) -> None:
    with WebServer().running() as other:
        other.resources["/f"] = Resource(CONTENT)
        server.resources["/same"] = Resource(status=302, headers={"Location": "/away"})
        server.resources["/away"] = Resource(status=302, headers={"Location": f"{other.url}/f"})
        download(f"{server.url}/same", target, headers={"Authorization": "Bearer hf_secret"}, job=job())
        assert [request.authorization for request in server.requests] == ["Bearer hf_secret"] * 2
        assert [request.authorization for request in other.requests] == [None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/f", "data:text/plain,hi"])
def test_follows_redirects_over_http_only(server: WebServer, target: Path, url: str) -> None:
    server.resources["/f"] = Resource(status=302, headers={"Location": url})
    with pytest.raises(SourceError):
        download(f"{server.url}/f", target, job=job())
    assert not list(target.parent.iterdir())


def test_stops_when_cancelled_and_keeps_what_came(server: WebServer, target: Path) -> None:
    cancelled = threading.Event()
    fault = Fault(400_000, gate=threading.Event())
    server.faults["/f"].append(fault)

    def cancel() -> None:
        fault.reached.wait()
        cancelled.set()
        assert fault.gate
        fault.gate.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(FetchCancelledError):
        download(f"{server.url}/f", target, digest=DIGEST, job=job(cancelled=cancelled))
    thread.join()
    download(f"{server.url}/f", target, digest=DIGEST, job=job())
    assert target.read_bytes() == CONTENT


def test_asks_for_room_before_it_writes(server: WebServer, target: Path) -> None:
    with pytest.raises(DiskFullError):
        download(f"{server.url}/f", target, job=job(free=999_999))
    assert not list(target.parent.iterdir())
