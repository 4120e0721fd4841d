"""What `slipway engine` was asked for, and what that means for vLLM's server. Pure; imports nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "gpu"]

GIB = 1 << 30

# Flags that would open what the gateway closes, or that Slipway sets itself.
REFUSED_FLAGS = {
    "--api-key": "the engine's key comes from $SLIPWAY_ENGINE_KEY",
    "--host": "use `slipway engine --host`",
    "--port": "use `slipway engine --port`",
    "--model": "use `slipway engine --source`",
    "--served-model-name": "use `slipway engine --name`",
    "--middleware": "the engine's own guard must stay the outermost",
    "--lora-modules": "use `slipway engine --adapter NAME=SOURCE`",
    "--uds": "the gateway reaches engines over TCP",
    "--trust-request-chat-template": "a template sent by a client can run for ever",
    "--allowed-local-media-path": "it would let clients read files of the engine",
}


class OptionsError(ValueError):
    """The engine was asked for something that cannot be; the message says how to mend it."""


@dataclass(frozen=True)
class EngineOptions:
    """The arguments of `slipway engine`."""

    source: str
    name: str
    task: Literal["generate", "embed", "classify", "score"] = "generate"
    runtime: Literal["vllm", "transformers"] = "vllm"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    dtype: str = "auto"
    max_model_len: int | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters: served name -> source."""
    brought: Mapping[str, str] = field(default_factory=dict)
    """The same, of which one that cannot be fetched is left out: whoever brought it will load it later."""
    host: str = "127.0.0.1"
    port: int = 8001
    drain_timeout: int = 30
    """Seconds that running requests get to finish after SIGTERM."""
    args: Sequence[str] = ()
    """More flags for the runtime."""


def check_args(args: Sequence[str]) -> None:
    """Raise OptionsError for a flag of vLLM that is not to be passed through."""
    for arg in args:
        flag = arg.split("=", 1)[0].replace("_", "-")
        if flag in REFUSED_FLAGS:
            raise OptionsError(f"The flag {flag} is not passed on to vLLM: {REFUSED_FLAGS[flag]}.")


def has_flag(args: Sequence[str], *flags: str) -> bool:
    """Whether one of `flags` is among `args`, in any spelling of vLLM's parser."""
    given = {arg.split("=", 1)[0].replace("_", "-") for arg in args}
    return not given.isdisjoint(flags)


def compiles(args: Sequence[str]) -> bool:
    """Whether `args` ask vLLM to compile the model on a CPU, which it does not do here unless asked.

    Compiling takes a minute of a small machine and needs a C++ compiler; it gained a fifth in speed.
    """
    return has_flag(args, "--no-enforce-eager", "--compilation-config", "-O", "-cc")


def kv_cache_bytes(total_memory: int) -> int:
    """Memory for the key-value cache on a CPU: a 32nd of the machine's, between half a GiB and 16 GiB.

    vLLM's own default is nine tenths of the machine: right for a GPU that serves one model, not for a
    machine on which several engines, a gateway and its user live side by side. Each GiB also costs about
    two seconds of the start, as its pages are touched one by one.
    """
    return max(GIB // 2, min(16 * GIB, total_memory // 32))


def vllm_flags(
    options: EngineOptions,
    *,
    model: Path,
    adapters: Mapping[str, Path],
    device: Device,
    total_memory: int,
    tool_parser: str | None,
    chat_template: str | None = None,
) -> list[str]:
    """The command line of vLLM's server for a model that lies in the folder `model`.

    Flags given by the user come last, so that they win where vLLM lets a later flag win.
    """
    check_args(options.args)
    flags = ["--model", str(model), "--served-model-name", options.name]
    flags += ["--host", options.host, "--port", str(options.port)]
    flags += ["--dtype", options.dtype]
    flags += ["--middleware", "slipway.engine.guard.EngineGuard"]
    flags += ["--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    flags += ["--enable-prompt-tokens-details"]
    if options.max_model_len is not None:
        flags += ["--max-model-len", str(options.max_model_len)]
    if options.tensor_parallel > 1:
        flags += ["--tensor-parallel-size", str(options.tensor_parallel)]
    if options.pipeline_parallel > 1:
        flags += ["--pipeline-parallel-size", str(options.pipeline_parallel)]
    if options.task != "generate":
        # vLLM finds by the architecture whether such a model gives vectors, labels or scores.
        flags += ["--runner", "pooling"]
    elif tool_parser is not None and not has_flag(options.args, "--tool-call-parser"):
        # Without the schemas pinned, small models write arguments that no parser can read.
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
        flags += ["--tool-strict-level", "parameter"]
    if chat_template is not None and not has_flag(options.args, "--chat-template"):
        flags += ["--chat-template", chat_template]
    if adapters:
        flags += ["--enable-lora", "--lora-modules", *(f"{name}={path}" for name, path in adapters.items())]
    if device == "cpu":
        if not compiles(options.args) and not has_flag(options.args, "--enforce-eager"):
            flags += ["--enforce-eager"]
        if not has_flag(options.args, "--kv-cache-memory-bytes", "--gpu-memory-utilization"):
            flags += ["--kv-cache-memory-bytes", str(kv_cache_bytes(total_memory))]
    return [*flags, *options.args]
