"""Writes a version's model card, README.md in Hugging Face's format: metadata as YAML, then sections.

https://huggingface.co/docs/hub/model-cards; metric identifiers are those of https://huggingface.co/metrics.
What the evaluation did not look at is said to be unknown, and never left out.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from slipway.training.registry.records import Draft, FileRecord

_TASKS = {
    "generate": "text-generation",
    "classify": "text-classification",
    "tag": "token-classification",
}
_METRICS = {
    "accuracy": "accuracy",
    "tag_accuracy": "accuracy",
    "precision_macro": "precision",
    "precision_micro": "precision",
    "entity_precision": "precision",
    "recall_macro": "recall",
    "recall_micro": "recall",
    "entity_recall": "recall",
    "f1_macro": "f1",
    "f1_micro": "f1",
    "f1_weighted": "f1",
    "entity_f1": "f1",
    "token_f1": "f1",
    "auc": "roc_auc",
    "brier": "brier_score",
    "exact_match": "exact_match",
    "bleu": "bleu",
    "chrf": "chrf",
    "rouge1": "rouge",
    "rouge2": "rouge",
    "rougeL": "rouge",
    "perplexity": "perplexity",
}
"""What Hugging Face calls a metric; one that it does not know keeps its own name."""
_SUITES = (
    ("bias", "Bias", "pairs of prompts that differ in a group alone, and gaps between groups"),
    ("toxicity", "Toxicity", "answers to provoking prompts"),
    ("privacy", "Privacy", "personal data in answers"),
    ("memorization", "Memorization", "training rows that it repeats word for word"),
    ("injection", "Prompt injection", "instructions hidden in its input, and jailbreaks"),
)
_HUB = re.compile(r"^hf://([A-Za-z0-9][\w.-]*/[\w.-]+?)(?:@.*)?$")


def card(draft: Draft, version: str, files: tuple[FileRecord, ...]) -> str:
    """The card of a version, as text."""
    sections = (
        _what(draft, version),
        _use(draft),
        _call(draft),
        _training(draft),
        _evaluation(draft),
        _risks(draft),
        _limits(draft),
        _carbon(draft),
        _licence(draft),
        _files(draft, version, files),
    )
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"---\n{metadata(draft).to_yaml()}\n---\n\n# {draft.name}\n\n{body}\n"


def metadata(draft: Draft) -> Any:
    """The card's metadata, as huggingface_hub's ModelCardData."""
    from huggingface_hub import EvalResult, ModelCardData

    dataset = draft.dataset
    base = _HUB.match(draft.base_model.source)
    results = [
        EvalResult(
            task_type=_TASKS[draft.task],
            task_name=_TASKS[draft.task].replace("-", " ").capitalize(),
            dataset_type=dataset.version if dataset else "unknown",
            dataset_name=f"{dataset.version}, test part" if dataset else "unknown",
            dataset_split="test",
            dataset_revision=(dataset.digest or None) if dataset else None,
            metric_type=_METRICS.get(name, name),
            metric_value=round(value, 6),
            metric_name=name,
            metric_args=_interval(draft, name),
        )
        for name, value in sorted(draft.evaluation.metrics.items())
        if value is not None
    ]
    about: dict[str, Any] = {
        "base_model": base[1] if base else draft.base_model.name,
        "base_model_relation": "merge"
        if draft.parents
        else "adapter"
        if draft.kind == "adapter"
        else "finetune",
        "library_name": "peft" if draft.kind == "adapter" else "transformers",
        "license": draft.licence.id,
        "pipeline_tag": _TASKS[draft.task],
        "language": list(dataset.languages) or None if dataset else None,
        "datasets": _datasets(draft) or None,
        "tags": ["slipway", *([draft.method] if draft.method else [])],
        "co2_eq_emissions": _emissions(draft),
    }
    if results:
        about |= {"model_name": draft.name, "eval_results": results}
    return ModelCardData(**{name: value for name, value in about.items() if value is not None})


def _datasets(draft: Draft) -> list[str]:
    """Repositories of the hub that the data came from; where there are none, the version's own name."""
    if draft.dataset is None:
        return []
    found = [match[1] for source in draft.dataset.sources if (match := _HUB.match(source.source))]
    return sorted(set(found)) or [draft.dataset.version]


def _emissions(draft: Draft) -> dict[str, Any] | None:
    energy = draft.energy
    if energy.emissions_kg is None:
        return None
    return {
        "emissions": round(energy.emissions_kg * 1000, 6),
        "source": energy.method,
        "training_type": "fine-tuning",
        "hardware_used": draft.code.machine,
    }


def _interval(draft: Draft, name: str) -> dict[str, Any] | None:
    interval = draft.evaluation.intervals.get(name)
    return {"confidence_interval_95": [round(end, 6) for end in interval]} if interval else None


def _what(draft: Draft, version: str) -> Iterator[str]:
    kind = "A LoRA adapter for" if draft.kind == "adapter" else "A model made of"
    yield f"{kind} {_code(draft.base_model.name)}, tuned for the task {_code(draft.task)} by Slipway."
    yield ""
    yield f"- **Version:** {draft.name}/{version}"
    yield f"- **Base model:** {_code(draft.base_model.source)}"
    if draft.base_model.digest:
        yield f"- **Base model's digest:** {_code(draft.base_model.digest)}"
    if draft.dataset:
        rows = ", ".join(f"{count} {part}" for part, count in draft.dataset.records.items())
        yield f"- **Data:** {_code(draft.dataset.version)}{f' ({rows})' if rows else ''}"
    if draft.parents:
        yield f"- **Made of:** {', '.join(_code(each) for each in draft.parents)}"
    yield f"- **Method:** {draft.method or 'not told'}"
    yield f"- **Registered:** {draft.created_at:%Y-%m-%d}"


def _use(draft: Draft) -> Iterator[str]:
    doing = {
        "generate": "answers to prompts like those of its data",
        "classify": "labels for texts like those of its data",
        "tag": "labels for the words of texts like those of its data",
    }[draft.task]
    yield "## Intended use"
    yield ""
    yield f"It gives {doing}, to people and programs that can bear with an answer that is wrong."
    yield ""
    yield "Not intended: decisions about people without a person who looks at them; texts of other kinds or"
    yield "languages than its data has; anything that the licences below do not allow."


def _call(draft: Draft) -> Iterator[str]:
    yield "## How to call it"
    yield ""
    yield "Through Slipway's gateway, by its served name:"
    yield ""
    yield "```python"
    yield "from openai import OpenAI"
    yield ""
    yield 'client = OpenAI(base_url="http://localhost:8000/v1", api_key="sk-…")'
    served = _served(draft)
    if draft.task == "generate":
        yield "answer = client.chat.completions.create("
        yield f'    model="{served}", messages=[{{"role": "user", "content": "…"}}]'
        yield ")"
        yield "print(answer.choices[0].message.content)"
    else:
        yield f'answer = client.post("/classify", body={{"model": "{served}", "input": "…"}}, cast_to=object)'
        yield "print(answer)"
    yield "```"


def _training(draft: Draft) -> Iterator[str]:
    yield "## Training"
    yield ""
    if draft.dataset and draft.dataset.sources:
        yield from _table(
            ("Source", "From", "Digest", "Licence"),
            [
                (each.name, each.source, each.digest[:23], each.licence or "unknown")
                for each in draft.dataset.sources
            ],
        )
        yield ""
    if draft.hyperparameters:
        yield from _table(
            ("Hyperparameter", "Value"),
            [(name, value) for name, value in sorted(draft.hyperparameters.items())],
        )
        yield ""
    if draft.training:
        yield from _table(
            ("Reached in training", "Value"),
            [(name, _number(value)) for name, value in sorted(draft.training.items())],
        )
        yield ""
    packages = ", ".join(f"{name} {version}" for name, version in draft.code.packages.items())
    commit = f" at {draft.code.commit}" if draft.code.commit else ""
    libraries = f", {packages}" if packages else ""
    yield f"Slipway {draft.code.slipway}{commit}, Python {draft.code.python}{libraries};"
    yield f"{draft.code.machine or 'machine not told'}."


def _evaluation(draft: Draft) -> Iterator[str]:
    yield "## Evaluation"
    yield ""
    found = draft.evaluation
    if not found.metrics:
        yield "It was not evaluated."
        return
    yield "On the test part of the data, which training never saw; intervals are bootstrap, 95 %."
    yield ""
    rows = []
    for name, value in sorted(found.metrics.items()):
        interval = found.intervals.get(name)
        shown = f"{_number(interval[0])} to {_number(interval[1])}" if interval else ""
        rows.append((name, _number(value), shown, _number(found.base[name]) if name in found.base else ""))
    yield from _table(("Metric", "Value", "Interval", "Base model"), rows)
    if found.gates:
        yield ""
        yield from _table(
            ("Gate", "Bound", "Value", "Passed"),
            [
                (each.metric, each.bound, _number(each.value), "yes" if each.passed else "no")
                for each in found.gates
            ],
        )


def _risks(draft: Draft) -> Iterator[str]:
    yield "## Bias and risks"
    yield ""
    for prefix, title, what in _SUITES:
        own = {
            name: value
            for name, value in sorted(draft.evaluation.metrics.items())
            if re.split(r"[/._]", name)[0] == prefix
        }
        if own:
            told = "; ".join(f"{_code(name)} {_number(value)}" for name, value in own.items())
            yield f"- **{title}** ({what}): {told}"
        else:
            yield f"- **{title}** ({what}): not measured, so unknown."


def _limits(draft: Draft) -> Iterator[str]:
    yield "## Limits"
    yield ""
    languages = ", ".join(draft.dataset.languages) if draft.dataset else ""
    if languages:
        yield f"- Its data is in: {languages}. Other languages were not tried."
    else:
        yield "- The languages of its data are not known."
    rows = draft.dataset.records.get("test") if draft.dataset else None
    if rows:
        yield f"- The evaluation saw {rows} rows; rarer cases may go differently."
    weak = [
        name
        for name, value in draft.evaluation.metrics.items()
        if value is not None and (base := draft.evaluation.base.get(name)) is not None and value == base
    ]
    if weak:
        yield f"- No better and no worse than the base model by: {', '.join(sorted(weak))}."
    failed = [gate.metric for gate in draft.evaluation.gates if not gate.passed]
    if failed:
        yield f"- It did not pass its gates for: {', '.join(failed)}."
    yield "- It has the limits of its base model, and knows nothing after its data."


def _carbon(draft: Draft) -> Iterator[str]:
    energy = draft.energy
    yield "## Carbon"
    yield ""
    if energy.energy_kwh is None or energy.emissions_kg is None:
        yield "Not measured."
        return
    word = "Estimated" if energy.estimated else "Measured"
    yield f"{word}, over all stages and attempts: {energy.hours:.3g} hours"
    yield f"({energy.cpu_hours:.3g} of processor time), {energy.energy_kwh:.3g} kWh,"
    yield f"{energy.emissions_kg * 1000:.3g} g CO2 equivalents."
    yield f"How: {energy.method}."


def _licence(draft: Draft) -> Iterator[str]:
    yield "## Licence"
    yield ""
    yield f"Base model: {draft.base_model.licence or 'unknown'}. Of this version: {draft.licence.id}."
    if draft.licence.warnings:
        yield ""
        for warning in draft.licence.warnings:
            yield f"- **Look at this:** {warning}"


def _files(draft: Draft, version: str, files: Sequence[FileRecord]) -> Iterator[str]:
    yield "## Files"
    yield ""
    yield from _table(("File", "Bytes", "SHA-256"), [(each.path, each.size, each.sha256) for each in files])
    yield ""
    yield f"`slipway registry verify {draft.name}/{version}` compares them, and"
    yield f"`slipway lineage {draft.name}/{version}` shows what it was made of."


def _served(draft: Draft) -> str:
    deploy = (draft.fine_tune.get("spec") or {}).get("deploy") or {}
    return str(deploy.get("name") or draft.name)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(each) for each in row)} |"


def _cell(value: object) -> str:
    """A value that stays in its cell, whatever it holds."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def _code(value: str) -> str:
    return f"`{' '.join(value.split()).replace('`', chr(39))}`"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
