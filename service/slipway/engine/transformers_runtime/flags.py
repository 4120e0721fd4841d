"""The flags of this runtime, given after `--` or in `engine.args`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from slipway.engine.options import EngineOptions, OptionsError


@dataclass(frozen=True)
class Flags:
    """Bounds of the batches and of the queue; names after vLLM's where they mean the same."""

    max_num_seqs: int = 32
    """Texts (or answers under way) in one forward pass."""
    max_num_batched_tokens: int = 16_384
    """Tokens in one forward pass, padding included."""
    max_waiting: int = 1024
    """Texts that wait for a pass; above that the engine answers 503."""
    threads: int = 0
    """Threads for the arithmetic on a CPU; 0: all cores but one, which stays free for the HTTP server."""


def parse(args: Sequence[str]) -> Flags:
    """The flags in `args`, each `--name VALUE` or `--name=VALUE`.

    Raises:
        OptionsError: one is not known, or its value is no number in range.
    """
    known = {field.name for field in fields(Flags)}
    found: dict[str, int] = {}
    rest = list(args)
    while rest:
        flag, given, value = rest.pop(0).partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in known:
            offered = ", ".join("--" + each.replace("_", "-") for each in sorted(known))
            raise OptionsError(f"The Transformers runtime has no flag {flag}; it has {offered}.")
        if not given:
            value = rest.pop(0) if rest else ""
        least = 0 if name == "threads" else 1
        if not value.isdecimal() or int(value) < least:
            raise OptionsError(f"The flag {flag} takes a whole number from {least}, not {value!r}.")
        found[name] = int(value)
    return Flags(**found)


def check(options: EngineOptions) -> None:
    """Raise OptionsError for what vLLM can and this runtime cannot."""
    if options.tensor_parallel > 1 or options.pipeline_parallel > 1:
        raise OptionsError(
            "The Transformers runtime runs on one device: leave out engine.tensorParallel and "
            "engine.pipelineParallel, or serve the model with runtime: vllm."
        )
    if options.adapters:
        raise OptionsError(
            "The Transformers runtime serves no LoRA adapters: leave out adapters, or use runtime: vllm."
        )
