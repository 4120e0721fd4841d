"""Is the new revision worse than the stable one? Judged over windows of their requests."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

QUANTILE = 0.9


@dataclass(frozen=True)
class AnalysisPolicy:
    """`spec.rollout.analysis`."""

    interval: float = 10.0
    """Seconds that a window lasts at least."""
    min_requests: int = 20
    """Requests of the new revision that a window needs; it lasts until it has them."""
    max_error_rate: float = 0.05
    """Share of failed requests that the new revision may have beyond the stable one's."""
    max_latency_factor: float = 1.5
    """Times the stable revision's time to the first byte (90th percentile)."""
    failure_limit: int = 2
    """Windows in a row that must be bad."""


@dataclass(frozen=True)
class Counts:
    """A revision's requests since ever, in sum over all gateways."""

    requests: float
    errors: float
    """Those that failed by the engine's fault."""
    first_byte: Mapping[float, float] = field(default_factory=dict)
    """Cumulative histogram of seconds: upper bound (`math.inf` included) -> requests."""

    def less(self, earlier: "Counts") -> "Counts":
        """What came since `earlier`."""
        return Counts(
            self.requests - earlier.requests,
            self.errors - earlier.errors,
            {bound: count - earlier.first_byte.get(bound, 0.0) for bound, count in self.first_byte.items()},
        )

    @property
    def went_back(self) -> bool:
        """A difference that cannot be: a gateway began anew."""
        return min(self.requests, self.errors, *self.first_byte.values()) < 0

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests > 0 else 0.0

    @property
    def latency(self) -> float | None:
        """The 90th percentile in seconds, as Prometheus's histogram_quantile; None without data."""
        return _quantile(self.first_byte, QUANTILE)


def _quantile(histogram: Mapping[float, float], share: float) -> float | None:
    bounds = sorted(histogram)
    if not bounds or histogram[bounds[-1]] <= 0:
        return None
    rank = share * histogram[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        here = histogram[bound]
        if here >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (here - below) if here > below else bound
        lower, below = bound, here
    return lower


@dataclass(frozen=True)
class Baseline:
    """How the stable revision did when it was last seen."""

    error_rate: float
    latency: float | None


@dataclass(frozen=True)
class AnalysisState:
    """The open window and what the ones before it said."""

    started_at: float
    counts: Mapping[str, Counts]
    """By revision, as the window began."""
    failures: int = 0
    """Bad windows in a row up to now."""
    good: bool = False
    """The last window judged in this stage of the rollout was good."""
    baseline: Baseline | None = None
    verdict: tuple[str, str] | None = None
    """Reason (`ErrorRate` or `Latency`) and sentence of the last window if it was bad."""


def observe(
    policy: AnalysisPolicy,
    state: AnalysisState | None,
    new: str,
    stable: str,
    counts: Mapping[str, Counts | None],
    now: float,
) -> AnalysisState:
    """The state with what gateways count at `now`; `state.failures` rises by one for a bad window.

    Without counts of the new revision (nothing asked it yet, or a gateway did not answer) no window closes,
    but the stable revision's figures are kept to compare with.
    """
    here = {name: count for name in (new, stable) if (count := counts.get(name)) is not None}
    if state is None:
        return AnalysisState(now, here)
    since = {name: count.less(state.counts[name]) for name, count in here.items() if name in state.counts}
    if any(count.went_back for count in since.values()):
        return replace(state, started_at=now, counts={**state.counts, **here})
    baseline, judged = state.baseline, since.get(new)
    if (old := since.get(stable)) is not None and old.requests >= policy.min_requests:
        baseline = Baseline(old.error_rate, old.latency)
    if here.keys() - since.keys():
        return replace(state, started_at=now, counts={**state.counts, **here}, baseline=baseline)
    if now - state.started_at < policy.interval:
        return state
    if judged is not None and judged.requests >= policy.min_requests:
        verdict = _compare(policy, judged, baseline)
        failures = state.failures + 1 if verdict else 0
        return AnalysisState(now, here, failures, verdict is None, baseline, verdict)
    if baseline is not state.baseline and (judged is None or judged.requests == 0):
        return replace(state, started_at=now, counts=here, baseline=baseline)
    return state


def _compare(policy: AnalysisPolicy, new: Counts, baseline: Baseline | None) -> tuple[str, str] | None:
    before = baseline.error_rate if baseline is not None else 0.0
    if new.error_rate - before > policy.max_error_rate:
        return (
            "ErrorRate",
            f"{new.errors:g} of {new.requests:g} requests failed ({new.error_rate:.1%}; stable "
            f"{before:.1%}), and {policy.max_error_rate:.1%} more than stable is allowed",
        )
    usual = baseline.latency if baseline is not None else None
    if usual and new.latency is not None and new.latency > usual * policy.max_latency_factor:
        return (
            "Latency",
            f"the 90th percentile of the time to the first byte is {new.latency:.3f} s over {new.requests:g} "
            f"requests (stable {usual:.3f} s), {new.latency / usual:.1f} times as long, and "
            f"{policy.max_latency_factor:g} times is allowed",
        )
    return None
