"""Bounds for regular expressions that an engine is to follow: length, and how often they repeat.

The engine turns a pattern into states, and computes beside its scheduler which tokens each state allows: a
short `.*a.{500}` keeps it, and everybody else's requests, busy for seconds.
"""

import re

_REPETITION = re.compile(r"(\)?)\{(\d{1,9})(?:,(\d{0,9}))?\}")


def repetitions(pattern: str) -> int:
    """About how many copies of its parts `pattern` unrolls to: counts add up, those of groups multiply.

    An upper bound for groups that stand side by side, the truth for one in another.
    """
    single, grouped = 0, 1
    for group, least, most in _REPETITION.findall(pattern):
        count = max(1, int(most or least))
        if group:
            grouped *= count
        else:
            single += count
    return grouped * max(1, single)


def problem(pattern: str, longest: int, most: int) -> str | None:
    """The rest of a sentence about a pattern that is too long or repeats too much; None if it is good."""
    if len(pattern) > longest:
        return f"holds a pattern of more than {longest} characters"
    if repetitions(pattern) > most:
        return f"holds a pattern that repeats its parts more than {most} times; use *, + or a smaller count"
    return None
