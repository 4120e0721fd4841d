"""The flags behind `--`."""

import pytest

from slipway.engine.options import EngineOptions, OptionsError
from slipway.engine.transformers_runtime.flags import Flags, check, parse


def test_none_means_the_defaults() -> None:
    assert parse([]) == Flags()


def test_both_ways_to_write_a_value() -> None:
    assert parse(["--max-num-seqs", "8", "--threads=2"]) == Flags(max_num_seqs=8, threads=2)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--enforce-eager"], "--max-num-seqs"),
        (["max-num-seqs", "8"], "has no flag"),
        (["--max-num-seqs"], "whole number from 1"),
        (["--max-num-seqs", "0"], "whole number from 1"),
        (["--threads=-1"], "whole number from 0"),
        (["--max-waiting", "many"], "'many'"),
    ],
)
def test_a_flag_that_is_not_right_is_named(args: list[str], says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        parse(args)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"tensor_parallel": 2}, "tensorParallel"),
        ({"pipeline_parallel": 2}, "pipelineParallel"),
        ({"adapters": {"a": "s3://b/c"}}, "adapters"),
    ],
)
def test_what_only_vllm_can_is_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        check(EngineOptions(source="file:///m", name="m", **more))  # type: ignore[arg-type]
