"""What `slipway engine` passes on to vLLM."""

from pathlib import Path

import pytest

from slipway.engine.options import GIB, EngineOptions, OptionsError, has_flag, kv_cache_bytes, vllm_flags

SOURCE = "file:///models/tiny"


def flags(device: str = "cpu", tool_parser: str | None = None, **options: object) -> list[str]:
    return vllm_flags(
        EngineOptions(source=SOURCE, name="tiny", **options),  # type: ignore[arg-type]
        model=Path("/cache/tiny"),
        adapters={"formal": Path("/cache/formal")} if options.get("adapters") else {},
        device=device,  # type: ignore[arg-type]
        total_memory=64 * GIB,
        tool_parser=tool_parser,
    )


def value(flags: list[str], flag: str) -> str:
    return flags[flags.index(flag) + 1]


def test_serves_the_fetched_folder_under_the_served_name() -> None:
    assert value(flags(), "--model") == "/cache/tiny"
    assert value(flags(), "--served-model-name") == "tiny"


def test_a_cpu_gets_no_compiler_and_a_bounded_cache() -> None:
    assert "--enforce-eager" in flags("cpu")
    assert value(flags("cpu"), "--kv-cache-memory-bytes") == str(2 * GIB)


def test_a_gpu_keeps_vllms_own_defaults() -> None:
    assert "--enforce-eager" not in flags("gpu")
    assert "--kv-cache-memory-bytes" not in flags("gpu")


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        (("--no-enforce-eager",), "--enforce-eager"),
        (("--kv_cache_memory_bytes=5",), "--kv-cache-memory-bytes"),
        (("--gpu-memory-utilization", "0.3"), "--kv-cache-memory-bytes"),
    ],
)
def test_flags_of_the_user_take_the_place_of_defaults(given: tuple[str, ...], left_out: str) -> None:
    made = flags("cpu", args=given)
    assert left_out not in made
    assert made[-len(given) :] == list(given)


def test_tools_are_parsed_with_their_schemas_pinned() -> None:
    made = flags(tool_parser="hermes")
    assert value(made, "--tool-call-parser") == "hermes"
    assert value(made, "--tool-strict-level") == "parameter"
    assert "--enable-auto-tool-choice" not in flags(tool_parser=None)


@pytest.mark.parametrize("task", ["embed", "classify", "score"])
def test_a_model_that_does_not_write_runs_as_a_pooling_model(task: str) -> None:
    made = flags(task=task, tool_parser="hermes")
    assert value(made, "--runner") == "pooling"
    assert "--tool-call-parser" not in made


def test_adapters_switch_lora_on() -> None:
    assert value(flags(adapters={"formal": "s3://b/formal"}), "--lora-modules") == "formal=/cache/formal"
    assert "--enable-lora" not in flags()


def test_several_devices() -> None:
    made = flags("gpu", tensor_parallel=4, pipeline_parallel=2)
    assert value(made, "--tensor-parallel-size") == "4"
    assert value(made, "--pipeline-parallel-size") == "2"


@pytest.mark.parametrize(
    "flag", ["--api-key", "--api_key", "--middleware=x.Y", "--trust-request-chat-template"]
)
def test_flags_that_open_the_engine_are_refused_by_name(flag: str) -> None:
    with pytest.raises(OptionsError, match=flag.split("=", maxsplit=1)[0].replace("_", "-")):
        flags(args=(flag, "secret"))


def test_a_flag_is_known_in_any_spelling() -> None:
    assert has_flag(["--max_num_seqs=4"], "--max-num-seqs")
    assert not has_flag(["--max-num-seqs-extra"], "--max-num-seqs")


@pytest.mark.parametrize(
    ("total", "cache"), [(4 * GIB, GIB // 2), (64 * GIB, 2 * GIB), (4096 * GIB, 16 * GIB)]
)
def test_the_cache_grows_with_the_machine_within_bounds(total: int, cache: int) -> None:
    assert kv_cache_bytes(total) == cache
