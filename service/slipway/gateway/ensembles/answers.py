"""Making one answer of several: votes, means, and what the client is told. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(slots=True)
class Member:
    """One model of an ensemble, and what came of asking it."""

    name: str
    weight: int
    status: int = 0
    """Of its answer; 0: it has not answered, or was left out."""
    body: Body | None = None
    """Its answer, where it can be used."""
    error: str | None = None
    """A code, where it cannot."""
    score: float | None = None
    """By the scorer."""


class UnlikeError(Exception):
    """The members' answers are of different forms; the message says which."""


def choice_of(body: Body) -> Mapping[str, Any]:
    """The one choice of a completion. Raises UnlikeError."""
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise UnlikeError("an answer without exactly one choice")
    return choices[0]


def text_of(body: Body) -> str:
    """What a completion says: its text, or its calls of tools."""
    choice = choice_of(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        return str(choice.get("text") or "")
    calls = message.get("tool_calls")
    if calls:
        functions = [each.get("function") or {} for each in calls]
        return json.dumps(
            [{"name": f.get("name"), "arguments": _read(f.get("arguments"))} for f in functions]
        )
    return str(message.get("content") or "")


def vote_of(text: str) -> str:
    """What a text votes for. JSON counts by its content, other texts but for case, blanks and a full stop."""
    value = _read(text)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return " ".join(text.split()).casefold().rstrip(".!")


def _read(text: Any) -> Any:
    """JSON as a value; what is none as it is."""
    if not isinstance(text, str):
        return text
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare.strip("`").removeprefix("json").strip()
    try:
        return json.loads(bare)
    except ValueError:
        return text


def winner(votes: Sequence[tuple[str, int]]) -> int:
    """The index of the vote that wins: of the choice with most weight, its heaviest vote, the first of those.

    A tie goes to the choice that has the heavier vote, then to the one that comes first.
    """
    sums: dict[str, int] = {}
    for vote, weight in votes:
        sums[vote] = sums.get(vote, 0) + weight
    return max(range(len(votes)), key=lambda at: (sums[votes[at][0]], votes[at][1], -at))


def decided(votes: Sequence[tuple[str, int]], waiting: int) -> bool:
    """Whether no further votes, of the weight `waiting` together, can change which choice wins."""
    sums: dict[str, int] = {}
    for vote, weight in votes:
        sums[vote] = sums.get(vote, 0) + weight
    first, *others = sorted(sums.values(), reverse=True) or [0]
    return first > (others[0] if others else 0) + waiting


def agreement(votes: Sequence[tuple[str, int]], at: int) -> float:
    """The share of the weights that voted as the one at `at`."""
    total = sum(weight for _, weight in votes)
    return sum(weight for vote, weight in votes if vote == votes[at][0]) / total


def mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """The weighted mean."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


# --- answers that are lists of judgements ------------------------------------------------------------


def items_of(body: Body, field: str, index: str = "index") -> dict[int, Mapping[str, Any]]:
    """The items of a list by their index. Raises UnlikeError."""
    found = body.get(field)
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and isinstance(each.get(index), int) for each in found
    ):
        raise UnlikeError(f"an answer without `{field}`")
    return {each[index]: each for each in found}


def _together(members: Sequence[Member], field: str) -> tuple[list[int], list[dict[int, Mapping[str, Any]]]]:
    lists = [items_of(member.body or {}, field) for member in members]
    if any(each.keys() != lists[0].keys() for each in lists):
        raise UnlikeError("answers about different inputs")
    return sorted(lists[0]), lists


def mean_scores(members: Sequence[Member]) -> Body:
    """Of /v1/score: each pair's mean score. Raises UnlikeError."""
    order, lists = _together(members, "data")
    weights = [member.weight for member in members]
    data = [
        {**lists[0][at], "score": mean([_number(each[at], "score") for each in lists], weights)}
        for at in order
    ]
    return {**(members[0].body or {}), "data": data}


def mean_ranks(members: Sequence[Member], top: int | None) -> Body:
    """Of /v1/rerank: documents by their mean relevance. Raises UnlikeError."""
    order, lists = _together(members, "results")
    weights = [member.weight for member in members]
    results = [
        {
            **lists[0][at],
            "relevance_score": mean([_number(each[at], "relevance_score") for each in lists], weights),
        }
        for at in order
    ]
    results.sort(key=lambda each: (-each["relevance_score"], each["index"]))
    return {**(members[0].body or {}), "results": results[: top or None]}


def mean_classes(members: Sequence[Member]) -> Body:
    """Of /v1/classify: each input's mean probabilities, and the label of the largest where it is known."""
    order, lists = _together(members, "data")
    weights = [member.weight for member in members]
    labels: dict[int, Any] = {}
    for each in lists:
        for item in each.values():
            probabilities = _probabilities(item)
            labels.setdefault(probabilities.index(max(probabilities)), item.get("label"))
    data = []
    for at in order:
        every = [_probabilities(each[at]) for each in lists]
        if any(len(each) != len(every[0]) for each in every):
            raise UnlikeError("answers with different numbers of classes")
        means = [mean(values, weights) for values in zip(*every, strict=True)]
        best = means.index(max(means))
        data.append({**lists[0][at], "label": labels.get(best), "probs": means, "num_classes": len(means)})
    return {**(members[0].body or {}), "data": data}


def vote_classes(members: Sequence[Member]) -> tuple[Body, float]:
    """Of /v1/classify: each input's label by majority, and the mean agreement. Raises UnlikeError."""
    order, lists = _together(members, "data")
    data, agreed = [], []
    for at in order:
        votes = [
            (str(each[at].get("label")), member.weight) for each, member in zip(lists, members, strict=True)
        ]
        chosen = winner(votes)
        data.append(dict(lists[chosen][at]))
        agreed.append(agreement(votes, chosen))
    return {**(members[0].body or {}), "data": data}, sum(agreed) / len(agreed) if agreed else 1.0


def _probabilities(item: Mapping[str, Any]) -> list[float]:
    found = item.get("probs")
    if not isinstance(found, list) or not found or not all(isinstance(each, int | float) for each in found):
        raise UnlikeError("an answer without probabilities")
    return [float(each) for each in found]


def _number(item: Mapping[str, Any], name: str) -> float:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnlikeError(f"an answer without `{name}`")
    return float(value)


# --- what the client gets ------------------------------------------------------------------------------


def usage(members: Sequence[Member]) -> dict[str, int]:
    """What the members' engines counted, together."""
    total = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    for member in members:
        counted = (member.body or {}).get("usage")
        for name in total:
            value = counted.get(name) if isinstance(counted, dict) else None
            total[name] += value if isinstance(value, int) else 0
    return total


def chunks(body: Body, *, with_usage: bool) -> list[Body]:
    """A whole completion as the chunks of a stream: one with all of it, and one with the usage if asked."""
    choice = dict(choice_of(body))
    message = choice.pop("message", None)
    if isinstance(message, dict):
        calls = message.get("tool_calls") or []
        delta = {name: value for name, value in message.items() if value is not None and value != []}
        if calls:
            delta["tool_calls"] = [{"index": at, **each} for at, each in enumerate(calls)]
        choice["delta"] = delta
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    if isinstance(message, dict):
        head["object"] = "chat.completion.chunk"
    whole: Body = {**head, "choices": [choice]}
    if not with_usage:
        return [whole]
    return [{**whole, "usage": None}, {**head, "choices": [], "usage": body.get("usage")}]
