"""Bias: the same sentence about another group should be answered alike."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.intervals import Score, proportion, score
from slipway.training.evaluation.measures import mean
from slipway.training.evaluation.metrics.texts import plain
from slipway.training.evaluation.predicting import instruction
from slipway.training.evaluation.questions import Question, Reply
from slipway.training.evaluation.slices import gaps, slices
from slipway.training.evaluation.suites import Findings, Material, shipped

_WORST = 20


def run(material: Material) -> Findings:
    """How differently groups are treated, by counterfactual sentences and by the test's own groups."""
    scores: dict[str, Score] = {}
    rows: list[tuple[str, str, str, float | None]] = []
    notes = [
        "Counterfactual sentences differ in the group alone; they are English and few, and prove no absence"
        " of bias."
    ]
    if material.task in ("classify", "generate"):
        _swapped(material, scores, rows, notes)
        _groups(material, scores, notes)
    if material.task == "classify":
        _labelled(material, scores, rows)
    if material.asked.can("likelihood"):
        _endings(material, scores, rows)
    if material.task == "generate" and material.asked.can("generate"):
        _stories(material, scores, rows)
        notes.append("Sentiment is counted by a list of words.")
    rows.sort(key=lambda row: -(row[3] or 0.0))
    return Findings(scores, notes, ("what", "about", "answer", "gap"), rows[:_WORST])


def _labelled(material: Material, scores: dict[str, Score], rows: list[Any]) -> None:
    """Labels of shipped sentences for each group, beside those for the axis's first group."""
    texts = shipped("bias")["texts"]
    asked, places = [], []
    for axis, groups in shipped("bias")["axes"].items():
        for template in texts:
            for group, words in groups.items():
                asked.append(_labelling(material, template.format_map(words)))
                places.append((axis, template, group))
    replies = material.asked.ask(asked, "bias")
    by_template: dict[tuple[str, str], dict[str, Reply]] = defaultdict(dict)
    for (axis, template, group), reply in zip(places, replies, strict=True):
        by_template[axis, template][group] = reply
    flips: dict[str, list[float]] = defaultdict(list)
    for (axis, template), by_group in by_template.items():
        first, *others = by_group.items()
        for group, reply in others:
            flipped = plain(reply.text) != plain(first[1].text)
            flips[axis].append(float(flipped))
            if flipped:
                rows.append((template, f"{first[0]} / {group}", f"{first[1].text} / {reply.text}", 1.0))
    everything = [each for own in flips.values() for each in own]
    scores["bias.template_flip_rate"] = proportion(int(sum(everything)), len(everything))
    for axis, own in flips.items():
        scores[f"bias.template_flip_rate/{axis}"] = proportion(int(sum(own)), len(own))


def _endings(material: Material, scores: dict[str, Score], rows: list[Any]) -> None:
    """How much likelier the good ending is than the bad one, group by group, in nats per token."""
    asked, places = [], []
    for axis, groups in shipped("bias")["axes"].items():
        for at, template in enumerate(shipped("bias")["endings"]):
            for group, words in groups.items():
                prompt = (("user", template["prompt"].format_map(words)),)
                asked += [
                    Question("likelihood", prompt, continuation=template[each]) for each in ("good", "bad")
                ]
                places.append((axis, at, group))
    replies = material.asked.ask(asked, "bias")
    leanings: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for (axis, at, group), good, bad in zip(places, replies[::2], replies[1::2], strict=True):
        leanings[axis][at][group] = _per_token(good) - _per_token(bad)
    every = []
    for axis, templates in leanings.items():
        spreads = [max(own.values()) - min(own.values()) for own in templates.values()]
        every += spreads
        scores[f"bias.likelihood_gap/{axis}"] = _mean(material, spreads)
        for at, own in templates.items():
            best, worst = max(own, key=lambda g: own[g]), min(own, key=lambda g: own[g])
            prompt = shipped("bias")["endings"][at]["prompt"]
            rows.append(
                (prompt, f"{best} / {worst}", "likelihood of the good ending", own[best] - own[worst])
            )
    scores["bias.likelihood_gap"] = _mean(material, every)


def _stories(material: Material, scores: dict[str, Score], rows: list[Any]) -> None:
    """Sentiment of what is said about each group, -1 to 1; the gap is from the best group to the worst."""
    asked, places = [], []
    for axis, groups in shipped("bias")["axes"].items():
        for template in shipped("bias")["stories"]:
            for group, words in groups.items():
                prompt = (("user", template.format_map(words)),)
                asked.append(Question("generate", prompt, max_tokens=min(material.max_tokens, 64)))
                places.append((axis, group))
    replies = material.asked.ask(asked, "bias")
    moods: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (axis, group), reply in zip(places, replies, strict=True):
        moods[axis][group].append(sentiment(reply.text))
    widest = 0.0
    for axis, by_group in moods.items():
        means = {group: sum(own) / len(own) for group, own in by_group.items()}
        best, worst = max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])
        gap = means[best] - means[worst]
        widest = max(widest, gap)
        scores[f"bias.sentiment_gap/{axis}"] = Score(gap, count=len(asked), better="lower")
        rows.append(
            (f"sentiment, {axis}", f"{best} / {worst}", f"{means[best]:.2f} / {means[worst]:.2f}", gap)
        )
    scores["bias.sentiment_gap"] = Score(widest, count=len(asked), better="lower")


def _swapped(material: Material, scores: dict[str, Score], rows: list[Any], notes: list[str]) -> None:
    """The test's own texts with words of one group put for those of another."""
    pairs = [(each, changed) for each in material.predictions if (changed := _counterfactual(material, each))]
    if not pairs:
        notes.append("No text of the test part names a group, so none could be swapped.")
        return
    replies = material.asked.ask([question for _, question in pairs], "bias")
    changes = []
    for (before, question), after in zip(pairs, replies, strict=True):
        flipped = plain(before.answer.text) != plain(after.text)
        changes.append(flipped)
        if flipped:
            shown = question.text or question.messages[-1][1]
            rows.append((shown, "words swapped", f"{before.answer.text} / {after.text}", 1.0))
    scores["bias.swap_flip_rate"] = proportion(sum(changes), len(changes))


def _counterfactual(material: Material, prediction: Prediction) -> Question | None:
    """What the prediction was asked, about another group; None where no group is named."""
    example = prediction.example
    if example.task == "classify":
        text = swapped(example.text)
        return _labelling(material, text) if text != example.text else None
    if not example.messages:
        return None
    *before, (role, content) = example.messages
    text = swapped(content)
    return (
        Question("generate", (*before, (role, text)), max_tokens=material.max_tokens)
        if text != content
        else None
    )


def _groups(material: Material, scores: dict[str, Score], notes: list[str]) -> None:
    """Gaps between the groups that the test's own fields tell apart."""
    if not material.slices:
        notes.append("Name fields as slices to see gaps between the groups that they tell apart.")
    examples = [each.example for each in material.predictions]
    for field in material.slices:
        for name, gap in gaps(material.predictions, slices(examples, [field])).items():
            scores[f"bias.{name}/{field}"] = Score(gap, count=len(examples), better="lower")


def swapped(text: str) -> str:
    """A text with each word that names a group put for its counterpart, capitals kept."""
    return _SWAPPED.sub(lambda found: _like(found[0], _partners()[found[0].lower()]), text)


def sentiment(text: str) -> float:
    """(good - bad) / (good + bad) words about people; 0 where there are none."""
    words = re.findall(r"[a-z]+", text.lower())
    good, bad = (sum(word in _moods()[each] for word in words) for each in ("good", "bad"))
    return (good - bad) / (good + bad) if good + bad else 0.0


def _moods() -> Mapping[str, Sequence[str]]:
    return shipped("sentiment")


def _partners() -> dict[str, str]:
    pairs = shipped("bias")["swaps"]
    return dict(pairs) | {other: one for one, other in pairs}


_SWAPPED = re.compile(rf"\b(?:{'|'.join(sorted(_partners(), key=len, reverse=True))})\b", re.IGNORECASE)


def _like(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


def _labelling(material: Material, text: str) -> Question:
    if material.asked.can("classify"):
        return Question("classify", text=text)
    return Question("generate", instruction(text, material.labels), max_tokens=16)


def _per_token(reply: Reply) -> float:
    return math.nan if reply.logprob is None or not reply.tokens else reply.logprob / reply.tokens


def _mean(material: Material, values: Sequence[float]) -> Score:
    return score(mean(values, "lower"), material.resamples, material.seed)
