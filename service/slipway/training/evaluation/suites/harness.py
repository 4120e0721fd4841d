"""Tasks of EleutherAI's lm-evaluation-harness, from files of the user or those that it ships."""

import os
from math import isnan
from typing import Any

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.intervals import Score
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.models.served import ServedModel
from slipway.training.evaluation.suites import Findings, Material

_Z = 1.959963984540054


def run(material: Material, task: str) -> Findings:
    """Each metric of a task, with the interval that follows from the harness's standard error.

    Raises:
        EvaluationError: the harness is not installed, does not know the task, or cannot read its data.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise EvaluationError(
            "lm-evaluation-harness is missing: pip install 'slipway[lm-eval]'.", "NoHarness"
        ) from None
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    own = str(material.tasks) if material.tasks else None
    # The folder's own first: to look through all that the harness ships takes seconds.
    manager = TaskManager(include_path=own, include_defaults=own is None)
    if own and task not in manager.all_tasks:
        manager = TaskManager(include_path=own)
    if task not in manager.all_tasks:
        where = f" or in {material.tasks}" if material.tasks else "; name the folder of your own with --tasks"
        raise EvaluationError(f"lm-evaluation-harness knows no task {task}{where}.", "UnknownTask")
    material.asked.steps.check()
    material.asked.steps.tell(f"{material.asked.answerer.name}: lm-eval/{task}")
    try:
        found = simple_evaluate(
            **_model(material),
            tasks=[task],
            task_manager=manager,
            bootstrap_iters=material.resamples,
            random_seed=material.seed,
            numpy_random_seed=material.seed,
            torch_random_seed=material.seed,
            fewshot_random_seed=material.seed,
            log_samples=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise EvaluationError(f"lm-eval/{task} cannot be run: {error}", "HarnessFailed") from error
    return Findings(_scores(task, found), (f"Run by lm-evaluation-harness, task {task}.",))


def _model(material: Material) -> dict[str, Any]:
    """The model as the harness takes it."""
    answerer = material.asked.answerer
    if isinstance(answerer, LocalModel):
        from lm_eval.models.huggingface import HFLM

        opened = answerer.opened
        return {"model": HFLM(pretrained=opened.model, tokenizer=opened.tokenizer, batch_size=8)}
    if isinstance(answerer, ServedModel):
        os.environ.setdefault("OPENAI_API_KEY", answerer.key or "none")
        arguments = {
            "model": answerer.model,
            "base_url": f"{answerer.url}/chat/completions",
            "num_concurrent": answerer.at_once,
            "max_retries": 6,
            "tokenizer_backend": None,
        }
        return {"model": "local-chat-completions", "model_args": arguments, "apply_chat_template": True}
    raise EvaluationError(f"The harness cannot ask {answerer.name}.", "CannotAnswer")


def _scores(task: str, found: Any) -> dict[str, Score]:
    scores = {}
    for name, results in found["results"].items():
        better = found.get("higher_is_better", {}).get(name, {})
        for key, value in results.items():
            metric, comma, rest = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            error = results.get(f"{metric}_stderr,{rest}")
            spread = _Z * error if isinstance(error, (int, float)) and not isnan(error) else float("nan")
            rows = found.get("n-samples", {}).get(name, {}).get("effective", 0)
            where = f"lm-eval/{name}" if name != task else f"lm-eval/{task}"
            way = "higher" if better.get(metric, True) else "lower"
            filtered = f"{metric}" if rest in ("none", "") else f"{metric}@{rest}"
            scores[f"{where}.{filtered}"] = Score(
                float(value), value - spread, value + spread, rows, "higher" if way == "higher" else "lower"
            )
    return scores
