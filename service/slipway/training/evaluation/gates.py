"""What a result must reach before it is released."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

from slipway.objects.finetunes import Gate
from slipway.objects.scalars import Number
from slipway.training.errors import EvaluationError, GateError

if TYPE_CHECKING:
    from slipway.training.evaluation.intervals import Comparison, Score

SIGNIFICANT = 0.05
"""A p value below this is no chance."""
Rival = Literal["base", "deployed"]
_SIGNS = (">=", "<=", ">")


@dataclass(frozen=True, slots=True)
class GateResult:
    """One bound of a gate, and whether it holds."""

    metric: str
    bound: str
    """`>= 0.9`, `<= 0.1`, `> base`, `>= deployed`."""
    value: float | None
    passed: bool
    message: str
    """A sentence for people."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def written(text: str) -> Gate:
    """The gate written as `exact_match>=0.9`, `perplexity<=12`, `accuracy>base` or `accuracy>=deployed`.

    Raises:
        EvaluationError: it is not written so.
    """
    for sign in _SIGNS:
        metric, found, bound = (part.strip() for part in text.partition(sign))
        if not found:
            continue
        over = {(">", "base"): "base", (">=", "deployed"): "deployed"}.get((sign, bound))
        try:
            if over:
                return Gate.model_validate({"metric": metric, "over": over})
            if sign != ">":
                return Gate.model_validate(
                    {"metric": metric, ("min" if sign == ">=" else "max"): Number.of(bound)}
                )
        except ValueError:
            break
        break
    raise EvaluationError(
        f"{text!r} is no gate; write it as exact_match>=0.9, perplexity<=12, accuracy>base or"
        " accuracy>=deployed.",
        "BadGate",
    )


def decided(
    gates: Sequence[Gate],
    scores: "Mapping[str, Score]",
    comparisons: "Mapping[Rival, Mapping[str, Comparison]]",
    rivals: Sequence[Rival],
) -> list[GateResult]:
    """Every bound of every gate.

    Args:
        gates: what must be reached
        scores: what was reached
        comparisons: with the base and with what is deployed
        rivals: which of them there are: with nothing deployed nothing can be worse than it
    """
    results = []
    for gate in gates:
        score = scores.get(gate.metric)
        if score is None or isnan(score.value):
            results.append(_unmeasured(gate, scores))
            continue
        value = score.value
        if gate.min is not None:
            results.append(_bounded(gate.metric, value, ">=", gate.min, value >= gate.min.number))
        if gate.max is not None:
            results.append(_bounded(gate.metric, value, "<=", gate.max, value <= gate.max.number))
        if gate.over is not None:
            comparison = comparisons.get(gate.over, {}).get(gate.metric)
            results.append(_over(gate.metric, value, gate.over, comparison, gate.over in rivals))
    return results


def require(results: Sequence[GateResult]) -> None:
    """Raises GateError, which names each bound that does not hold."""
    failed = [each.message for each in results if not each.passed]
    if failed:
        raise GateError(" ".join(failed))


def _bounded(metric: str, value: float, sign: str, bound: Number, passed: bool) -> GateResult:
    least = sign == ">="
    if passed:
        message = f"{metric} is {value:.4g}, and {'at least' if least else 'at most'} {bound} is asked for."
    else:
        message = f"{metric} is {value:.4g}, {'below the minimum' if least else 'above the maximum'} {bound}."
    return GateResult(metric, f"{sign} {bound}", value, passed, message)


def _over(metric: str, value: float, rival: Rival, found: "Comparison | None", there: bool) -> GateResult:
    bound, name = ("> base" if rival == "base" else ">= deployed"), _NAMES[rival]
    if found is None:
        # With nothing deployed nothing can be worse than it.
        passed = rival == "deployed" and not there
        why = "it was not measured of it" if there else "there is none"
        message = f"{metric} is {value:.4g}, and is to be compared with {name}, but {why}."
        return GateResult(metric, bound, value, passed, message)
    pair = f"{metric} is {found.ours:.4g}, and {found.theirs:.4g} with {name}"
    chance = f"p = {found.p:.3g}, {found.test}"
    if rival == "base":
        passed = found.gain > 0 and found.p < SIGNIFICANT
        verdict = "significantly better" if passed else "not significantly better"
    else:
        passed = not (found.gain < 0 and found.p < SIGNIFICANT)
        verdict = "not significantly worse" if passed else "significantly worse"
    return GateResult(metric, bound, value, passed, f"{pair}: {verdict} ({chance}).")


def _unmeasured(gate: Gate, scores: "Mapping[str, Score]") -> GateResult:
    bounds = ((">=", gate.min), ("<=", gate.max), ("over", gate.over))
    bound = ", ".join(f"{sign} {value}" for sign, value in bounds if value is not None)
    there = ", ".join(sorted(scores)) or "nothing"
    message = f"{gate.metric} was not measured, and {bound} is asked for; there is {there}."
    return GateResult(gate.metric, bound, None, False, message)


_NAMES: dict[Rival, str] = {"base": "the base model", "deployed": "what is deployed"}
