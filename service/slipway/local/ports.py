"""Ports: free ones for the engines, and who has the one that the gateway wants."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

from slipway.local.errors import PortTakenError

WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, never bound)


def reachable(host: str) -> str:
    """The address under which this machine reaches a server that listens on `host`."""
    return WILDCARDS.get(host, host)


def url(host: str, port: int) -> str:
    """`http://HOST:PORT` for people and clients on this machine."""
    host = reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class FreePorts:
    """Loopback ports that nothing listens on, none given twice in a row."""

    def __init__(self) -> None:
        self._given: list[int] = []

    def take(self) -> int:
        for _ in range(64):
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                port = int(sock.getsockname()[1])
            if port not in self._given:
                break
        self._given = [*self._given[-31:], port]
        return port


def require_free(host: str, port: int) -> None:
    """Raises PortTakenError, naming the process that listens where it can be found, or says why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(1)
    except socket.gaierror:
        raise PortTakenError(_foreign(host)) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(_taken(port)) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortTakenError(_foreign(host)) from None
        if error.errno == errno.EACCES:
            message = f"Port {port} needs root: choose one above 1023, such as --port 8000."
            raise PortTakenError(message) from None
        raise PortTakenError(f"Port {port} of {host} cannot be used: {error.strerror}.") from None


def _foreign(host: str) -> str:
    return f"{host} is not an address of this machine: choose one with --host."


def _taken(port: int) -> str:
    holder = listener(port)
    other = f"or choose another: --port {port + 1 if port < 65535 else 8000}."
    if holder is None:
        return f"Port {port} is taken by another process: stop it, {other}"
    pid, argv = holder
    if "gateway" in argv and "--state" in argv[:-1]:
        state = argv[argv.index("--state") + 1]
        return (
            f"Port {port} is taken by another `slipway up` (state folder {state}): "
            f"stop it with `slipway down --state {state}`, {other}"
        )
    name = " ".join(argv)[:80] or "unknown"
    return f"Port {port} is taken by process {pid} ({name}): stop it, {other}"


def listener(port: int) -> tuple[int, list[str]] | None:
    """Pid and command line of the process that listens on TCP `port`, if it may be known."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in os.listdir("/proc"):  # noqa: PTH208  (names are all that is needed)
        if not entry.isdigit():
            continue
        with suppress(OSError):
            for descriptor in Path(f"/proc/{entry}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in inodes:  # noqa: PTH115
                        command = Path(f"/proc/{entry}/cmdline").read_bytes()
                        return int(entry), [
                            part.decode(errors="replace") for part in command.split(b"\0") if part
                        ]
    return None
