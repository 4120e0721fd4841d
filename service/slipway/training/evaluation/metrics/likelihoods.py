"""How likely the references are to the model."""

import math
from collections.abc import Sequence

import numpy as np

from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.measures import Measure, mean, ratio


def perplexity(predictions: Sequence[Prediction]) -> Measure:
    """exp(-sum of log probabilities / tokens) over all references' tokens. Comparable between models with the
    same tokenizer only."""
    return ratio(_nats(predictions), _tokens(predictions), "lower", finish=np.exp)


def bits_per_byte(predictions: Sequence[Prediction]) -> Measure:
    """-sum of log2 probabilities / UTF-8 bytes of the references. Comparable between all models."""
    sizes = [len(each.example.reference.encode("utf-8", "surrogatepass")) for each in predictions]
    known = [size if _known(each) else 0 for size, each in zip(sizes, predictions, strict=True)]
    return ratio(np.array(_nats(predictions)) / math.log(2), known, "lower")


def preference_accuracy(predictions: Sequence[Prediction]) -> Measure:
    """Share of preferences whose chosen answer is likelier than the rejected one, each by its mean over
    tokens; a tie counts half."""
    return mean([_preferred(each) for each in predictions])


def _known(prediction: Prediction) -> bool:
    return prediction.likelihood is not None and prediction.likelihood.logprob is not None


def _nats(predictions: Sequence[Prediction]) -> list[float]:
    """Of each reference; 0 where the model could not tell, and it has no tokens then."""
    return [-((each.likelihood and each.likelihood.logprob) or 0.0) for each in predictions]


def _tokens(predictions: Sequence[Prediction]) -> list[int]:
    return [each.likelihood.tokens if each.likelihood and _known(each) else 0 for each in predictions]


def _preferred(prediction: Prediction) -> float:
    chosen, rejected = prediction.likelihood, prediction.rejected
    if chosen is None or rejected is None or chosen.logprob is None or rejected.logprob is None:
        return math.nan
    if not chosen.tokens or not rejected.tokens:
        return math.nan
    margin = chosen.logprob / chosen.tokens - rejected.logprob / rejected.tokens
    return 0.5 if margin == 0 else float(margin > 0)
