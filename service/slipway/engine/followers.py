"""The further nodes of a model that lies over several: they compute for the first one and serve nobody.

vLLM's own way, `vllm serve --headless`, ends with the first signal. A pod of such a group gets that signal
together with the leader, which then still answers what runs, for which it needs every node. So a follower
ends when its leader has.
"""

import signal
import socket
import threading
from typing import Any

from slipway.engine import reports
from slipway.engine.options import OptionsError

MARGIN_S = 5.0
"""Seconds that a follower grants the leader beyond the drain."""


def check_place(nodes: int, rank: int) -> None:
    """Raise OptionsError where a follower is no further node of a model over several."""
    if nodes < 2 or rank < 1:
        raise OptionsError(
            "--headless is for the further nodes of a model over several: give --nnodes (2 or more), "
            "--node-rank (from 1) and --master-addr as well, or leave it out."
        )


def compute(parsed: Any, drain_timeout: float) -> bool:
    """Run this node's part of the model until its leader ends; whether that was asked for.

    `parsed` are vLLM's parsed flags. After SIGTERM the leader gets `drain_timeout` seconds and a few more.

    Raises:
        OptionsError: the flags name no leader, or no place behind it.
    """
    check_place(parsed.nnodes, parsed.node_rank)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor

    engine_args = AsyncEngineArgs.from_cli_args(parsed)
    config = engine_args.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER, headless=True)
    executor = MultiprocExecutor(config)
    parallel = config.parallel_config
    end = End(drain_timeout + MARGIN_S)
    executor.register_failure_callback(end.come)
    with socket.create_connection((parallel.master_addr, parallel.master_port)) as leader:
        end.watch(leader)
        reports.write("following", f"Computing for {parallel.master_addr} as node {parallel.node_rank}")
        asked = end.wait()
    executor.shutdown()
    return asked


class End:
    """The end of a follower: its leader's or its worker's, or some time after a signal."""

    def __init__(self, patience: float) -> None:
        """`patience`: seconds from the signal to the end where the leader lives on."""
        self._patience = patience
        self._come = threading.Event()
        self._asked = False

    def come(self) -> None:
        """The end is there."""
        self._come.set()

    def watch(self, leader: socket.socket) -> None:
        """Take signals from now on, and the end of a connection to the leader as the end."""
        leader.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        threading.Thread(target=self._read, args=(leader,), name="leader", daemon=True).start()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)

    def wait(self) -> bool:
        """Block until the end; whether a signal had asked for it."""
        self._come.wait()
        return self._asked

    def _on_signal(self, signum: int, _frame: object) -> None:
        if self._asked:
            return
        self._asked = True
        last = threading.Timer(self._patience, self.come)
        last.daemon = True
        last.start()
        reports.write("draining", f"{signal.Signals(signum).name}: ends with its leader")

    def _read(self, leader: socket.socket) -> None:
        try:
            leader.recv(1)  # The leader never writes here: this returns at its end.
        except OSError:
            pass  # So does a node that no longer answers.
        finally:
            self.come()
