"""Ports, and who has them."""

import os
import socket

import pytest

from slipway.local.errors import PortTakenError
from slipway.local.ports import FreePorts, require_free, url


def test_a_taken_port_is_told_from_a_free_one() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Port {port} is taken by process {os.getpid()}"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    with pytest.raises(PortTakenError, match="is not an address of this machine"):
        require_free("203.0.113.7", port)
    with pytest.raises(PortTakenError, match="is not an address of this machine"):
        require_free("no such host", port)


def test_free_ports_differ_and_addresses_are_for_people() -> None:
    ports = FreePorts()
    assert len({ports.take() for _ in range(20)}) == 20
    assert url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url("::1", 2) == "http://[::1]:2"
