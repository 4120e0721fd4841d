"""vLLM's CPU platform with forked instead of spawned processes.

vLLM's CPU platform forces `spawn`: the API server, the engine core and the worker import the same
libraries one after the other. `slipway engine` imports them once, before any thread runs and any
OpenMP region was entered, and forks the other two. vLLM finds this module by its entry point in the
group `vllm.platform_plugins`.
"""

import os

FORK = "SLIPWAY_ENGINE_FORK"


def register() -> str | None:
    """The platform to use in place of vLLM's own, where `slipway engine` asks for it."""
    return "slipway.engine.platform.ForkingCpuPlatform" if os.environ.get(FORK) == "1" else None


def __getattr__(name: str) -> object:
    # vLLM calls register() while its own platform is being made up: importing that here would be circular.
    if name != "ForkingCpuPlatform":
        raise AttributeError(name)
    from vllm.platforms.cpu import CpuPlatform

    class ForkingCpuPlatform(CpuPlatform):  # type: ignore[misc]
        """vLLM's CPU platform, forking."""

        @classmethod
        def check_and_update_config(cls, vllm_config: object) -> None:
            """Let vLLM set up everything, then undo the one variable."""
            super().check_and_update_config(vllm_config)
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    globals()[name] = ForkingCpuPlatform
    return ForkingCpuPlatform
