"""The programs that a local run starts: one gateway, and an engine for each replica."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from slipway.local.errors import EngineMissingError
from slipway.objects.engines import engine_args
from slipway.objects.llmservices import LLMService

_NEEDED = ("slipway", "click", "pydantic", "yaml")
_FIND = (
    "import sys, importlib.util as u; print(*[name for name in sys.argv[1:] if u.find_spec(name) is None])"
)


class Commands(Protocol):
    """The command lines of a local run."""

    def check(self, runtimes: Collection[str]) -> None:
        """Raises EngineMissingError if engines of `runtimes` cannot be started at all."""

    def gateway(self, host: str, port: int, state: Path) -> list[str]: ...

    def engine(self, service: LLMService, port: int) -> list[str]: ...

    def supervisor(self, arguments: list[str]) -> list[str]:
        """The program that supervises in the background."""


class Installed:
    """This installation's gateway, and engines under the interpreter of `$SLIPWAY_ENGINE_PYTHON`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._chosen = environment.get("SLIPWAY_ENGINE_PYTHON") or None
        # A path is taken as seen from here. Links stay: a virtual environment's interpreter is one.
        chosen = self._chosen or sys.executable
        self.python = os.path.abspath(chosen) if "/" in chosen else shutil.which(chosen) or chosen  # noqa: PTH100

    def check(self, runtimes: Collection[str]) -> None:
        mend = (
            "make the engines' environment with `make envs`, and set SLIPWAY_ENGINE_PYTHON to its bin/python"
        )
        source = "from" if self._chosen else "this command's own, for want of"
        whose = f"The engines' interpreter {self.python} ({source} SLIPWAY_ENGINE_PYTHON)"
        try:
            answer = subprocess.run(
                [self.python, "-c", _FIND, *_NEEDED, *sorted(runtimes)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                env=os.environ | {"PYTHONSAFEPATH": "1"},
            )
        except FileNotFoundError:
            raise EngineMissingError(f"{whose} does not exist: {mend}.") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineMissingError(f"{whose} cannot be run ({error}): {mend}.") from None
        if answer.returncode != 0:
            last = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
            raise EngineMissingError(f"{whose} does not run ({last}): {mend}.")
        missing = answer.stdout.split()
        if missing:
            raise EngineMissingError(f"{whose} has no {', '.join(missing)}: {mend}.")

    def gateway(self, host: str, port: int, state: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "slipway", "gateway"),
            *("--host", host, "--port", str(port), "--state", str(state)),
        ]

    def engine(self, service: LLMService, port: int) -> list[str]:
        # engine_args may end with `-- FLAGS` for the runtime, so the address goes first.
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return [self.python, "-m", "slipway", "engine", *address, *engine_args(service)]

    def supervisor(self, arguments: list[str]) -> list[str]:
        return [sys.executable, "-m", "slipway.local.background", *arguments]
