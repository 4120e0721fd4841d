"""The store of limits that the settings ask for."""

import time
from collections.abc import Callable

from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.contract import Seed
from slipway.gateway.limits.inprocess import InProcessLimits
from slipway.gateway.limits.shared import SharedLimits
from slipway.gateway.logs import JSONLog
from slipway.gateway.settings import GatewaySettings


def shared_limits(
    settings: GatewaySettings,
    seed: Seed,
    log: JSONLog,
    *,
    told: Callable[[bool], None],
    fell_back: Callable[[str], None],
) -> SharedLimits:
    """Counters in Redis; `told` learns when it is away and back, `fell_back` of each request meanwhile."""
    fail_open = settings.limits_on_failure == "fail-open"

    def changed(up: bool) -> None:
        told(up)
        if up:
            log.write("info", "limits", "Redis answers: limits are shared with the other gateways")
        else:
            what = "requests pass under this gateway's own counters" if fail_open else "requests get 503"
            log.write("warning", "limits", f"Redis does not answer: {what} until it is back")

    connection = RedisConnection(
        settings.limits_redis_url, timeout=settings.limits_timeout, on_change=changed
    )
    local = InProcessLimits(time.monotonic, time.time, seed)
    return SharedLimits(connection, local, fail_open, time.time, fell_back, seed, settings.limits_lease)
