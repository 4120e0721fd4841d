"""What an interpreter loads: images stay small and commands answer at once only as long as this holds."""

import json
import subprocess
import sys

import pytest
from click import Group

from slipway.cli import COMMANDS, main

HEAVY = ("torch", "vllm", "transformers", "aiohttp", "httpx")
SLOW = ("pydantic", "pydantic_core", "fastapi", "starlette", "uvicorn", "torch", "vllm")


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `code`."""
    tail = (
        "\nimport json, sys; print(); print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    answer = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout.splitlines()[-1]))


def commands() -> list[tuple[str, ...]]:
    """Every command line that can be asked for help, subcommands included."""
    found: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        found.append((name,))
        command = main.get_command(None, name)  # type: ignore[arg-type]
        if isinstance(command, Group):
            found += [(name, each) for each in command.commands]
    return found


@pytest.mark.parametrize("module", ["slipway.gateway.server", "slipway.cli", "slipway_operator"])
def test_no_engine_library_and_no_slow_client_is_loaded(module: str) -> None:
    modules = loaded(f"import {module}")
    assert module.partition(".")[0] in modules
    assert modules.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", commands(), ids=lambda arguments: " ".join(("slipway", *arguments)))
def test_help_loads_what_it_prints_and_no_more(arguments: tuple[str, ...]) -> None:
    code = (
        "from slipway.cli import main\n"
        f"main({[*arguments, '--help']!r}, prog_name='slipway', standalone_mode=False)"
    )
    modules = loaded(code)
    assert "click" in modules
    assert modules.isdisjoint(SLOW)
