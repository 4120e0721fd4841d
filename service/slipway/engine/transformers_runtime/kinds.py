"""What a model is, found from its configuration: what it gives, how long its inputs may be. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from slipway.engine.failures import StartError

Kind = Literal["text-to-text", "texts", "tokens", "pairs", "vectors"]
"""What comes out: a text, labels of texts, labels of tokens, scores of pairs, vectors."""
Activation = Literal["none", "sigmoid", "softmax"]

WITHOUT_LIMIT = 2048
"""Longest input, in tokens, of a model that names no limit of its own."""
_UNSET = 1_000_000
"""Tokenizers that know no limit name one far above this."""
_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
}
"""Families that number positions from the padding token's id on, which costs them that many positions."""


def kind_of(task: str, architectures: Sequence[str], *, encoder_decoder: bool, labels: int) -> Kind:
    """What the model is, when it is asked to do `task`.

    Raises:
        StartError: the model cannot do it, at least not with this runtime.
    """
    named = ", ".join(architectures) or "a model of no named architecture"
    judges = any(name.endswith("ForSequenceClassification") for name in architectures)
    tags = any(name.endswith("ForTokenClassification") for name in architectures)
    if task == "generate":
        if encoder_decoder and not judges:
            return "text-to-text"
        raise _wrong(
            f"{named} writes no text by way of encoder and decoder, as T5, BART and Marian do. Serve a "
            "decoder such as Llama with runtime: vllm; for a classifier set model.task: classify."
        )
    if task == "classify":
        if judges:
            return "texts"
        if tags:
            return "tokens"
        raise _wrong(
            f"{named} is no classifier: model.task: classify needs a …ForSequenceClassification or a "
            "…ForTokenClassification."
        )
    if task == "score" and judges:
        if labels == 1:
            return "pairs"
        raise _wrong(
            f"{named} has {labels} labels, so it gives no one score: set model.task: classify, or take a "
            "cross-encoder, which has one."
        )
    if encoder_decoder or judges or tags:
        raise _wrong(f"{named} gives no vectors: take an encoder for model.task: {task}.")
    return "vectors"


def _wrong(message: str) -> StartError:
    return StartError("ModelNotSupported", message)


def activation_of(config: Mapping[str, Any], labels: int) -> Activation:
    """What turns a classifier's outputs into probabilities, by the same rules as vLLM.

    Args:
        config: the model's config.json.
        labels: how many it tells apart.

    Raises:
        StartError: the configuration names a function that is not one of these.
    """
    by_labels: Activation = "sigmoid" if labels < 2 else "softmax"
    problem = config.get("problem_type")
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification":
        return "sigmoid"
    if problem == "single_label_classification":
        return by_labels
    trained = config.get("sentence_transformers")
    named = trained.get("activation_fn") if isinstance(trained, Mapping) else None
    named = named or config.get("sbert_ce_default_activation_function")
    if named is None:
        return by_labels
    match str(named).rpartition(".")[2]:
        case "Identity":
            return "none"
        case "Sigmoid" | "Softmax":
            return by_labels
    raise _wrong(f"The configuration's activation {named!r} is none of Identity, Sigmoid and Softmax.")


def longest_input(config: Mapping[str, Any], tokenizers: int, asked: int | None) -> int:
    """Most tokens of one input.

    Args:
        config: the model's configuration with its defaults.
        tokenizers: the tokenizer's own limit, in tokens.
        asked: engine.maxModelLen.

    Raises:
        StartError: more was asked for than the model has positions.
    """
    positions = _positions(config)
    if asked is not None:
        if positions is not None and asked > positions:
            raise StartError(
                "WrongMaxModelLen",
                f"engine.maxModelLen is {asked}, and the model has {positions} positions: lower it or leave "
                "it out.",
            )
        return asked
    limits = [positions, _limit(tokenizers), _limit(config.get("n_positions"))]
    return min((limit for limit in limits if limit is not None), default=WITHOUT_LIMIT)


def _positions(config: Mapping[str, Any]) -> int | None:
    """How many places a model has learnt or computed; None where distances count instead, as in T5."""
    positions = _limit(config.get("max_position_embeddings"))
    if positions is not None and config.get("model_type") in _POSITIONS_AFTER_PADDING:
        return positions - int(config.get("pad_token_id") or 0) - 1
    return positions


def _limit(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < _UNSET else None
