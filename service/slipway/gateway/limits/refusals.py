"""The error answer for a call that a limit refused: whose limit, how much it is, when to try again."""

from datetime import UTC, datetime
from math import ceil

from slipway.gateway.errors import APIError, retry_after
from slipway.gateway.limits.contract import LIMITS, PERIODS, Decision, Subject
from slipway.objects.money import dollars

_TYPES = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "max_parallel": "parallel",
    "tokens_per_day": "tokens",
}


def refusal(decision: Decision, now: float, key: str) -> APIError:
    """The error for a call with `key` (its name); `now` is in seconds since 1970."""
    refused = decision.refusal
    assert refused is not None  # noqa: S101 - for the type checker
    subject, limit, headers = refused.subject, refused.limit, decision.headers()
    most = subject.rates.values[LIMITS.index(limit)]
    assert most is not None  # noqa: S101 - for the type checker
    whose = _whose(subject, key)
    budget = limit.startswith("budget")
    period = PERIODS.get(limit, "minute")
    if refused.never_fits:
        what = f"a budget of ${dollars(most)}" if budget else f"a limit of {most} tokens"
        return APIError(
            400,
            "request_too_large_for_limit",
            f"This request may use more than {whose} ever may: {what} a {period}. "
            "Shorten the prompt or lower max_tokens.",
            headers=headers,
        )
    seconds = max(1, ceil(refused.retry_after))
    again = f"Try again in {seconds} second{'s' if seconds != 1 else ''}."
    if limit in PERIODS:
        at = datetime.fromtimestamp(round(now + refused.retry_after), UTC)
        again = f"It begins anew at {at:%Y-%m-%d %H:%M} UTC."
    match limit:
        case "requests_per_minute":
            said = f"{whose} may make {most} requests a minute. {again}"
        case "max_parallel":
            said = f"{whose} may have {most} requests in flight. Wait until one ends."
        case "tokens_per_minute" | "tokens_per_day":
            said = f"{whose} may use {most} tokens a {period}. {again}"
        case _:
            said = f"{whose} may spend ${dollars(most)} a {period}; this might exceed it. {again}"
    return APIError(
        429,
        "budget_exceeded" if budget else "rate_limit_exceeded",
        said[0].upper() + said[1:],
        kind="insufficient_quota" if budget else _TYPES[limit],
        headers=[*headers, *retry_after(refused.retry_after)],
    )


def _whose(subject: Subject, key: str) -> str:
    holder = "this key" if subject.name == key else f"the key `{subject.name}`, with which this one was made,"
    match subject.kind:
        case "key":
            return holder
        case "model":
            return f"{holder} on the model `{subject.model}`"
        case _:
            return f"the owner `{subject.name}`, with all keys together,"
