"""The shared store of limits that the settings ask for. redis-py reads its URL, and is loaded for that."""

import time
from collections.abc import Callable

from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.contract import Seed
from slipway.gateway.limits.inprocess import InProcessLimits
from slipway.gateway.limits.places import place_of
from slipway.gateway.limits.shared import SharedLimits, shared_store
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
    """Counters in Redis; `told` learns when it is away and back, `fell_back` of each request meanwhile.

    Raises RedisURLError.
    """
    fail_open = settings.limits_on_failure == "fail-open"

    def changed(up: bool, problem: str) -> None:
        told(up)
        if up:
            log.write("info", "limits", "Redis answers: limits are shared with the other gateways")
        else:
            what = "requests pass under this gateway's own counters" if fail_open else "requests get 503"
            log.write("warning", "limits", f"Redis does not answer ({problem}): {what} until it is back")

    return shared_store(
        RedisConnection(
            place_of(settings.limits_redis_url), timeout=settings.limits_timeout, on_change=changed
        ),
        InProcessLimits(time.monotonic, time.time, seed),
        fail_open=fail_open,
        wall=time.time,
        fell_back=fell_back,
        seed=seed,
        lease=settings.limits_lease,
    )
