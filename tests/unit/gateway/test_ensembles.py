"""Making one answer of several."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.ensembles.answers import (
    Member,
    UnlikeError,
    agreement,
    chunks,
    decided,
    mean_classes,
    mean_ranks,
    mean_scores,
    text_of,
    usage,
    vote_classes,
    vote_of,
    winner,
)


def chat(content: Any, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content, **message}}]}


def member(name: str, body: dict[str, Any], weight: int = 1) -> Member:
    return Member(name, weight, 200, body)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Positive", " positive.\n"),
        ('{"a": 1, "b": [2]}', '```json\n{"b":[2],"a":1}\n```'),
        ("the  cat", "The cat"),
    ],
)
def test_what_means_the_same_votes_the_same(one: str, other: str) -> None:
    assert vote_of(one) == vote_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ('{"a": 1}', '{"a": "1"}'), ("[1, 2]", "[2, 1]"), ("yes", "no")]
)
def test_what_differs_votes_differently(one: str, other: str) -> None:
    assert vote_of(one) != vote_of(other)


def test_calls_of_tools_vote_by_name_and_arguments() -> None:
    def call(arguments: str, identity: str) -> dict[str, Any]:
        return chat(None, tool_calls=[{"id": identity, "function": {"name": "f", "arguments": arguments}}])

    same = {vote_of(text_of(call(text, text))) for text in ('{"x": 1, "y": 2}', '{"y":2,"x":1}')}
    assert len(same) == 1
    assert vote_of(text_of(call('{"x": 2}', "a"))) not in same


def test_the_majority_by_weight_wins() -> None:
    assert winner([("a", 1), ("b", 1), ("b", 1)]) == 1
    assert winner([("a", 3), ("b", 1), ("b", 1)]) == 0
    assert agreement([("a", 3), ("b", 1), ("b", 1)], 0) == 0.6


def test_a_tie_goes_to_the_heavier_vote_then_to_the_first() -> None:
    assert winner([("a", 1), ("a", 1), ("b", 2)]) == 2
    assert winner([("a", 1), ("b", 1)]) == 0
    assert winner([("b", 1), ("a", 1)]) == 0


VOTES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1, max_size=8)


@given(VOTES, VOTES)
def test_what_is_decided_stays_whatever_comes(
    seen: list[tuple[str, int]], late: list[tuple[str, int]]
) -> None:
    if decided(seen, sum(weight for _, weight in late)):
        every = [*seen, *late]
        assert every[winner(every)][0] == seen[winner(seen)][0]


@given(VOTES)
def test_the_winner_has_no_less_weight_than_any_other(votes: list[tuple[str, int]]) -> None:
    at = winner(votes)
    shares = {vote: sum(weight for each, weight in votes if each == vote) for vote, _ in votes}
    assert shares[votes[at][0]] == max(shares.values())


def scores(*values: float) -> dict[str, Any]:
    return {"data": [{"index": at, "object": "score", "score": value} for at, value in enumerate(values)]}


def test_scores_are_averaged_by_weight() -> None:
    made = mean_scores([member("a", scores(0.0, 1.0), 3), member("b", scores(1.0, 0.0))])
    assert [each["score"] for each in made["data"]] == [0.25, 0.75]


def ranks(*values: float) -> dict[str, Any]:
    found = [
        {"index": at, "document": {"text": str(at)}, "relevance_score": value}
        for at, value in enumerate(values)
    ]
    return {"results": sorted(found, key=lambda each: -float(each["relevance_score"]))}


def test_documents_are_ranked_by_their_mean() -> None:
    made = mean_ranks([member("a", ranks(0.9, 0.1, 0.5)), member("b", ranks(0.0, 0.5, 0.6))], top=2)
    assert [(each["index"], each["document"]["text"]) for each in made["results"]] == [(2, "2"), (0, "0")]


def classes(*rows: list[float]) -> dict[str, Any]:
    labels = "XYZ"
    return {
        "data": [
            {"index": at, "label": labels[row.index(max(row))], "probs": row, "num_classes": len(row)}
            for at, row in enumerate(rows)
        ]
    }


def test_probabilities_are_averaged_and_the_largest_names_the_label() -> None:
    made = mean_classes([member("a", classes([0.9, 0.1])), member("b", classes([0.2, 0.8]), 2)])
    (item,) = made["data"]
    assert item["label"] == "Y"
    assert item["probs"] == pytest.approx([1.3 / 3, 1.7 / 3])


def test_a_class_that_nobody_named_has_no_label() -> None:
    made = mean_classes([member("a", classes([0.5, 0.45, 0.05])), member("b", classes([0.05, 0.45, 0.5]))])
    assert made["data"][0]["label"] is None


def test_labels_are_voted_for_each_input() -> None:
    made, agreed = vote_classes(
        [
            member("a", classes([0.9, 0.1], [0.1, 0.9])),
            member("b", classes([0.9, 0.1], [0.9, 0.1])),
            member("c", classes([0.1, 0.9], [0.1, 0.9])),
        ]
    )
    assert [each["label"] for each in made["data"]] == ["X", "Y"]
    assert agreed == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "other", [scores(0.1), {"data": [{"index": 0}, {"index": 1}]}, {"data": None}, classes([1.0])], ids=str
)
def test_what_is_unlike_cannot_be_averaged(other: dict[str, Any]) -> None:
    with pytest.raises(UnlikeError):
        mean_scores([member("a", scores(0.1, 0.2)), member("b", other)])
    with pytest.raises(UnlikeError):
        mean_classes([member("a", classes([0.5, 0.5])), member("b", other)])


def test_a_whole_answer_becomes_chunks_that_hold_all_of_it() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = chat("hi", tool_calls=[call], refusal=None) | {
        "id": "x",
        "object": "chat.completion",
        "usage": {"a": 1},
    }
    whole, counted = chunks(body, with_usage=True)
    assert whole["object"] == counted["object"] == "chat.completion.chunk"
    assert whole["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [{"index": 0, **call}],
    }
    assert (counted["choices"], counted["usage"]) == ([], {"a": 1})
    text = {"object": "text_completion", "choices": [{"index": 0, "text": "hi"}], "usage": {}}
    assert chunks(text, with_usage=False) == [{"object": "text_completion", "choices": text["choices"]}]


def test_usage_is_that_of_all_members() -> None:
    one = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    assert usage([member("a", one), member("b", one), member("c", {"usage": None})]) == {
        "prompt_tokens": 6,
        "completion_tokens": 4,
        "total_tokens": 10,
    }


def test_votes_are_the_same_text_in_any_order_of_keys() -> None:
    assert vote_of(json.dumps({"b": 1, "a": {"d": 1, "c": 2}})) == '{"a":{"c":2,"d":1},"b":1}'
