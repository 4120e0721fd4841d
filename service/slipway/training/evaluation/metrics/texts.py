"""How near generated texts come to their references."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.measures import Array, Measure, mean, summed

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(predictions: Sequence[Prediction]) -> Measure:
    """Share of answers that equal the reference, white space around them and Unicode's forms aside."""
    return mean([plain(each.answer.text) == plain(each.example.reference) for each in predictions])


def token_f1(predictions: Sequence[Prediction]) -> Measure:
    """Mean F1 of the words that answer and reference share, after SQuAD 1.1 (lower case, no articles or
    punctuation)."""
    return mean([_token_f1(each.answer.text, each.example.reference) for each in predictions])


def bleu(predictions: Sequence[Prediction]) -> Measure:
    """Corpus BLEU of sacrebleu, 0 to 100 (its defaults: tokenizer 13a, exponential smoothing)."""
    from sacrebleu.metrics import BLEU

    return _sacrebleu(BLEU(), predictions)


def chrf(predictions: Sequence[Prediction]) -> Measure:
    """Corpus chrF2 of sacrebleu, 0 to 100 (its defaults: six characters, beta 2)."""
    from sacrebleu.metrics import CHRF

    return _sacrebleu(CHRF(), predictions)


def rouge1(predictions: Sequence[Prediction]) -> Measure:
    """Mean F1 of shared words (rouge-score, no stemmer). It sees the letters a to z and digits alone."""
    return _rouge("rouge1", predictions)


def rouge2(predictions: Sequence[Prediction]) -> Measure:
    """Mean F1 of shared pairs of words (rouge-score, no stemmer)."""
    return _rouge("rouge2", predictions)


def rouge_l(predictions: Sequence[Prediction]) -> Measure:
    """Mean F1 of the longest common subsequence of words (rouge-score, no stemmer)."""
    return _rouge("rougeL", predictions)


def plain(text: str) -> str:
    """A text without what nobody sees: white space around it, one character written in two ways."""
    return unicodedata.normalize("NFC", text).strip()


def _token_f1(answer: str, reference: str) -> float:
    got, wanted = _words(answer), _words(reference)
    if not got or not wanted:
        return float(got == wanted)
    shared = sum((Counter(got) & Counter(wanted)).values())
    return 2 * shared / (len(got) + len(wanted))


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _sacrebleu(metric: Any, predictions: Sequence[Prediction]) -> Measure:
    # The statistics of each segment, which sacrebleu's own bootstrap sums up again for each resample.
    statistics = metric._extract_corpus_statistics(
        [each.answer.text for each in predictions], [[each.example.reference for each in predictions]]
    )

    def scores(sums: Array) -> Array:
        return np.array([metric._compute_score_from_stats(list(each)).score for each in sums])

    return summed(statistics, scores)


def _rouge(kind: str, predictions: Sequence[Prediction]) -> Measure:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind])
    return mean(
        [scorer.score(each.example.reference, each.answer.text)[kind].fmeasure for each in predictions]
    )
