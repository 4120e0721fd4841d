"""Fields of the routes that judge texts: score, rerank, classify. The rest is in `parameters`."""

from slipway.gateway import bounds
from slipway.gateway.parameters import CACHE_SALT, INT64, Table, everywhere, inputs, operators_fields
from slipway.gateway.rules import Rule, array, boolean, either, integer, one_of, refused, text
from slipway.gateway.settings import GatewaySettings

_TEXTS_ONLY = "is not offered: only texts are judged here"


def _pooling() -> dict[str, Rule]:
    return {
        **everywhere(),
        **operators_fields(),
        "truncate_prompt_tokens": integer(
            -1, INT64, "Longer inputs are cut; -1 cuts at the model's own limit."
        ),
        "truncation_side": one_of("left", "right"),
        "use_activation": boolean("False gives the model's raw outputs."),
        "padding": one_of("do_not_pad", forward=False),
        "cache_salt": text(1024, CACHE_SALT, shortest=1),
        "activation": refused("was removed from vLLM; use `use_activation`"),
        "softmax": refused("was removed from vLLM; use `use_activation`"),
    }


def _one_or_many(settings: GatewaySettings, note: str) -> Rule:
    return either(
        f"must be a string, or a list of 1 to {settings.max_inputs} strings",
        text(settings.max_body, shortest=1),
        array(text(settings.max_body, shortest=1), settings.max_inputs, least=1),
        note=note,
    )


def _scoring(settings: GatewaySettings) -> dict[str, Rule]:
    return {
        **_pooling(),
        "max_tokens_per_query": integer(0, INT64, "Longer queries are cut; 0 cuts none."),
        "max_tokens_per_doc": integer(0, INT64, "Longer documents are cut; 0 cuts none."),
        "instruction": text(8192, "For models whose template takes one."),
        "chat_template_kwargs": bounds.template_kwargs(),
    }


def score(settings: GatewaySettings) -> Table:
    """POST /v1/score: one text against each of several, or pair by pair."""
    return {
        **_scoring(settings),
        "text_1": _one_or_many(settings, "One text, or as many as `text_2` has."),
        "text_2": _one_or_many(settings, "The texts it is compared with."),
        "queries": _one_or_many(settings, "Another name for `text_1`, with `documents`."),
        "documents": _one_or_many(settings, "Another name for `text_2`, with `queries`."),
        "data_1": refused("is not offered; use `text_1`"),
        "data_2": refused("is not offered; use `text_2`"),
        "items": refused("is not offered; use `documents`"),
    }


def rerank(settings: GatewaySettings) -> Table:
    """POST /v1/rerank: documents by their relevance to a query (Jina's and Cohere's API)."""
    return {
        **_scoring(settings),
        "query": text(settings.max_body, "What is looked for.", shortest=1),
        "documents": array(text(settings.max_body, shortest=1), settings.max_inputs, least=1),
        "top_n": integer(0, INT64, "Most results; 0 gives all."),
        "rank_fields": refused(_TEXTS_ONLY),
        "return_documents": refused("is not offered: documents are always returned"),
        "max_chunks_per_doc": refused("is not offered; use `max_tokens_per_doc`"),
    }


def classify(settings: GatewaySettings) -> Table:
    """POST /v1/classify: a label with its probabilities for each text, or labels for its tokens."""
    return {
        **_pooling(),
        "input": inputs(settings),
        "add_special_tokens": boolean(),
        "messages": refused("is not offered here; use `input`"),
    }
