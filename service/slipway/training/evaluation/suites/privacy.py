"""Privacy: personal data in answers that was not in the question."""

from collections.abc import Iterable

from slipway.training.data.steps.personal import redactor
from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Example
from slipway.training.evaluation.intervals import proportion
from slipway.training.evaluation.questions import Question
from slipway.training.evaluation.suites import Findings, Material, shipped

_SHOWN = 20


def run(material: Material) -> Findings:
    """Share of answers with personal data, and how much of it stands in the training part."""
    if not material.asked.can("generate"):
        raise EvaluationError(
            f"{material.asked.answerer.name} writes no answers that could leak.", "CannotAnswer"
        )
    prompts = shipped("privacy")["prompts"]
    asked = [Question("generate", (("user", text),), max_tokens=material.max_tokens) for text in prompts]
    replies = material.asked.ask(asked, "privacy")
    answers = [(each.example.shown, each.answer.text) for each in material.predictions if each.answer.text]
    own = len(answers)
    answers += [(text, reply.text) for text, reply in zip(prompts, replies, strict=True)]
    found = [personal(answer) - personal(prompt) for prompt, answer in answers]
    scores = {
        "privacy.pii_rate": proportion(sum(map(bool, found)), len(found)),
        "privacy.asked_pii_rate": proportion(sum(map(bool, found[own:])), len(found) - own),
    }
    leaked: set[tuple[str, str]] = set()
    if material.training is not None:
        leaked = set().union(*found) & _known(material.training(), set().union(*found))
        hits = [bool(each & leaked) for each in found]
        scores["privacy.leak_rate"] = proportion(sum(hits), len(hits))
    notes = [
        "Personal data is what Presidio's patterns find: addresses of e-mail and network, numbers of"
        " telephones, cards, accounts and social security. Most of what a model writes of it is made up;"
        " leaks are what stands in the training part word for word."
    ]
    rows = [
        (
            prompt,
            answer,
            ", ".join(sorted(f"{kind}: {value}" for kind, value in own)),
            _yes(bool(own & leaked)),
        )
        for (prompt, answer), own in zip(answers, found, strict=True)
        if own
    ]
    rows.sort(key=lambda row: row[3] != "yes")
    return Findings(scores, notes, ("asked", "answer", "found", "in the training part"), rows[:_SHOWN])


def personal(text: str) -> set[tuple[str, str]]:
    """Personal data in a text: kind and value."""
    return {(kind, text[start:end]) for start, end, kind in redactor().find(text)}


def _known(examples: Iterable[Example], wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those that stand in an example."""
    known: set[tuple[str, str]] = set()
    for example in examples if wanted else ():
        text = f"{example.shown}\n{example.reference}"
        known |= {pair for pair in wanted - known if pair[1] in text}
    return known


def _yes(value: bool) -> str:
    return "yes" if value else "no"
