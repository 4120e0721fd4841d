"""A small file server that can be told to misbehave."""

import contextlib
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Resource:
    content: bytes = b""
    status: int = 200
    etag: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True


@dataclass
class Request:
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Fault:
    """Send `after` bytes of the body, then wait for `gate` if there is one, then cut the connection."""

    after: int
    gate: threading.Event | None = None
    reached: threading.Event = field(default_factory=threading.Event)


class WebServer:
    """Serves `resources` by path (without the query) on loopback."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.faults: dict[str, deque[Fault | int]] = defaultdict(deque)
        """What happens to the next requests of a path: a cut, or a status."""
        self.requests: list[Request] = []
        self.password: str | None = None
        """What `Authorization` has to be."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    @contextlib.contextmanager
    def running(self) -> Iterator["WebServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            for faults in self.faults.values():
                for fault in faults:
                    if isinstance(fault, Fault) and fault.gate:
                        fault.gate.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked = self.headers.get("Range")
            server.requests.append(Request(path, asked, self.headers.get("Authorization")))
            resource = server.resources.get(path, Resource(b"no such file", 404))
            if server.password not in (None, self.headers.get("Authorization")):
                resource = Resource(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            fault = server.faults[path].popleft() if server.faults[path] else None
            if isinstance(fault, int):
                resource, fault = Resource(b"", fault), None
            body, status, headers = resource.content, resource.status, dict(resource.headers)
            if resource.etag:
                headers["ETag"] = resource.etag
            condition = self.headers.get("If-Range")
            if asked and resource.ranges and status == 200 and condition in (None, resource.etag):
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(body):
                    headers["Content-Range"] = f"bytes */{len(body)}"
                    status, body = 416, b""
                else:
                    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                    status, body = 206, body[start:]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                if fault is None:
                    self.wfile.write(body)
                    return
                self.wfile.write(body[: fault.after])
                self.wfile.flush()
                fault.reached.set()
                if fault.gate:
                    fault.gate.wait()
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
