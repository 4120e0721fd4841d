"""What is recommended for a machine, and why not what is not."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.models import command
from slipway.training.choosing.candidates import catalogue, named
from slipway.training.choosing.machines import Machine, found
from slipway.training.choosing.memory import GIB
from slipway.training.choosing.recommending import Advice, Wish, recommend
from slipway.training.errors import TuningError

LAPTOP = Machine(cpu=16 * GIB)
WORKSTATION = Machine(gpu=24 * GIB, gpus=1, cpu=64 * GIB)
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}


def suitable(machine: Machine, wish: Wish) -> list[Advice]:
    return [each for each in recommend(catalogue().candidates, wish, machine) if each.suitable]


def advice_of(name: str, machine: Machine, wish: Wish) -> Advice:
    every = recommend(catalogue().candidates, wish, machine)
    return next(each for each in every if each.candidate.name.endswith(name))


def test_the_largest_model_that_fits_comes_first() -> None:
    best = suitable(WORKSTATION, Wish(languages=("de",), rows=3000))[0]
    assert best.device == "gpu"
    assert 7e9 < best.candidate.architecture.parameters < 9e9
    assert best.method in ("lora", "qlora")
    small = suitable(LAPTOP, Wish(languages=("de",), rows=3000))[0]
    assert small.candidate.architecture.parameters < 2e9
    assert "de" in small.candidate.languages


def test_what_is_recommended_fits() -> None:
    for machine in (LAPTOP, WORKSTATION):
        for each in suitable(machine, Wish()):
            fit = next(fit for fit in each.serving if fit.fits)
            assert fit.needs.total <= fit.budget
            assert fit.concurrency >= 8
            assert any(one.fits and one.method == each.method for one in each.training)
            assert all(one.needs.total <= one.budget for one in each.training if one.fits)


@pytest.mark.parametrize(
    ("name", "wish", "sentence"),
    [
        ("Llama-3.2-1B-Instruct", Wish(), "Its licence is llama3.2; permissive is asked for."),
        ("SmolLM2-135M-Instruct", Wish(languages=("de",)), "It was not made for de."),
        ("bert-base-uncased", Wish(), "It is no model for the task generate."),
        ("TinyLlama-1.1B-Chat-v1.0", Wish(context=8192), "It reads 2048 tokens; 8192 are asked for."),
        ("Qwen3-32B", Wish(), "the cpu has 15.0 GiB."),
    ],
)
def test_what_is_not_suitable_says_why(name: str, wish: Wish, sentence: str) -> None:
    against = advice_of(name, LAPTOP, wish).against
    assert any(sentence in each for each in against), against


def test_a_licence_can_be_named() -> None:
    wish = Wish(licences=("permissive", "llama3.2"))
    assert advice_of("Llama-3.2-1B-Instruct", LAPTOP, wish).suitable
    assert advice_of("gemma-3-1b-it", LAPTOP, Wish(licences=("any",))).suitable
    assert not advice_of("gemma-3-1b-it", LAPTOP, wish).suitable


@pytest.mark.parametrize(
    ("task", "rows", "method"),
    [
        ("classify", 50, "head"),
        ("classify", 5000, "full"),
        ("generate", 50, "lora"),
        ("generate", 5000, "lora"),
    ],
)
def test_the_way_of_training_follows_from_task_and_rows(task: str, rows: int, method: str) -> None:
    wish = Wish(task=task, rows=rows)  # type: ignore[arg-type]
    assert suitable(WORKSTATION, wish)[0].method == method


def test_labels_are_for_encoders() -> None:
    assert suitable(WORKSTATION, Wish(task="classify"))[0].candidate.architecture.shape == "encoder"


def test_more_context_or_more_conversations_take_more() -> None:
    one = advice_of("Qwen3-0.6B", WORKSTATION, Wish()).serving[0].needs.total
    longer = advice_of("Qwen3-0.6B", WORKSTATION, Wish(context=4096)).serving[0].needs.total
    more = advice_of("Qwen3-0.6B", WORKSTATION, Wish(concurrency=16)).serving[0].needs.total
    assert one < longer
    assert one < more


def test_a_folder_of_the_user_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "README.md").write_text("---\nlicense: mit\nlanguage: [de, en]\n---\n# Mine\n")
    mine = named(str(tmp_path))
    assert (mine.licence, mine.languages, mine.tasks) == ("mit", ("de", "en"), ("generate", "classify"))
    (tmp_path / "config.json").unlink()
    with pytest.raises(TuningError, match=r"has no config\.json"):
        named(str(tmp_path))


def test_weights_that_are_there_are_counted(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7)}, tmp_path / "model.safetensors")
    assert named(str(tmp_path)).architecture.parameters == 22


def test_an_address_of_the_catalogue_needs_no_network() -> None:
    assert named("hf://Qwen/Qwen3-0.6B").licence == "Apache-2.0"


def test_a_machine_is_found_with_its_limit(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:       16777216 kB\n")
    assert found(lambda command: "81559\n81559\n", tmp_path) == Machine(81559 << 20, 2, 16 * GIB)
    limit = tmp_path / "sys" / "fs" / "cgroup"
    limit.mkdir(parents=True)
    (limit / "memory.max").write_text(str(4 * GIB))
    assert found(lambda command: "", tmp_path) == Machine(0, 0, 4 * GIB)


def test_the_command_prints_a_table_and_reasons() -> None:
    asked = [
        "recommend",
        "--gpu-memory",
        "24Gi",
        "--cpu-memory",
        "64Gi",
        "--rows",
        "3000",
        "--language",
        "de",
    ]
    said = CliRunner().invoke(command, asked)
    assert said.exit_code == 0, said.output
    assert "For 1 GPU of 24.0 GiB and 64.0 GiB of memory:" in said.output
    assert "conversations of 2048 tokens at the same time" in said.output
    assert "rows suit" in said.output


def test_the_command_prints_json_of_every_candidate() -> None:
    asked = ["recommend", "--gpu-memory", "0", "--cpu-memory", "16Gi", "-o", "json"]
    document = json.loads(CliRunner().invoke(command, asked).output)
    assert len(document) == len(catalogue().candidates)
    first = document[0]
    assert first["suitable"]
    assert first["serving"][0]["needs"]["total"] > first["serving"][0]["needs"]["weights"] > 0


def test_a_wrong_amount_is_told() -> None:
    said = CliRunner().invoke(command, ["recommend", "--cpu-memory", "much"])
    assert (said.exit_code, "`much` is no amount of memory" in said.output) == (1, True)
