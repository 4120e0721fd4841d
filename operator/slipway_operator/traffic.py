"""Whole percents for revisions."""

from collections.abc import Mapping


def shares(parts: Mapping[str, float]) -> dict[str, int]:
    """Splits 100 in proportion to `parts` (largest remainder); every positive part gets 1 at least.

    Empty if no part is positive. There must not be more than 100 positive parts.
    """
    positive = {name: part for name, part in parts.items() if part > 0}
    whole = sum(positive.values())
    exact = {name: part * 100 / whole for name, part in positive.items()}
    given = {name: max(1, int(share)) for name, share in exact.items()}
    while (left := 100 - sum(given.values())) and given:
        # Whoever is furthest below its exact share gains; whoever is furthest above it, and can, gives.
        able = [name for name in given if left > 0 or given[name] > 1]
        name = max(able, key=lambda name: (exact[name] - given[name]) * (1 if left > 0 else -1))
        given[name] += 1 if left > 0 else -1
    return given
