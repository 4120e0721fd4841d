"""The command line as its user meets it: help, tables, JSON, sentences."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slipway.cli import COMMANDS, main
from slipway.local.folders import StateFolder
from slipway.local.following import observed
from slipway.local.processes import Identity

ROW = {
    "name": "a/0", "index": 0, "revision": "0123456789", "state": "Ready", "reason": "", "message": "",
    "address": "127.0.0.1:4000", "pid": 12, "restarts": 3, "startedAt": "2020-01-01T00:00:00Z", "log": "/l",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def slipway(folder: StateFolder, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"SLIPWAY_STATE": str(folder.root)}, prog_name="slipway")


def running(folder: StateFolder, state: str = "Ready", message: str = "", log: str = "/l") -> None:
    """Write a status as a supervisor would, this process being the supervisor."""
    own = Identity.of(os.getpid())
    assert own is not None
    folder.create()
    folder.write_json(
        folder.status,
        {
            "supervisor": {
                "pid": own.pid,
                "startTime": own.start,
                "startedAt": "2020-01-01T00:00:00Z",
                "state": "Running",
                "message": "",
            },
            "applied": 1,
            "gateway": {"url": "http://127.0.0.1:8000", "state": "Ready", "reason": "", "message": "",
                        "pid": 11, "restarts": 0, "startedAt": None, "log": ""},
            "services": [
                {"name": "a", "model": "a", "task": "generate", "revision": "0123456789", "state": state,
                 "reason": "BackOff" if message else "", "message": message, "replicas": 1,
                 "readyReplicas": 1, "processes": [ROW | {"log": log}]}
            ],
        },
    )  # fmt: skip


def test_help_names_every_command_and_loads_none_of_their_libraries() -> None:
    code = (
        "import sys; from importlib import import_module; from slipway.cli import COMMANDS\n"
        f"for name in {[name for name in COMMANDS if name not in ('engine', 'gateway')]}: "
        "import_module(COMMANDS[name][0])\n"
        "print([name for name in ('pydantic', 'yaml', 'asyncio', 'fastapi', 'torch') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("engine", "gateway")])
def test_each_command_says_what_it_does(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "-h"])
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage: ")
    assert len(shown.output.splitlines()) > 3


def test_nothing_runs_is_no_error_for_down_and_one_for_status(folder: StateFolder) -> None:
    down = slipway(folder, "down")
    assert (down.exit_code, down.output) == (0, "Nothing runs.\n")
    status = slipway(folder, "status")
    assert (status.exit_code, status.output) == (1, "Nothing runs.\n")
    assert not folder.root.exists()


def test_status_is_a_table_of_services_and_replicas(folder: StateFolder) -> None:
    running(folder)
    shown = slipway(folder, "status")
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert lines[0].startswith("Run: running since ")
    assert lines[1] == "Gateway: http://127.0.0.1:8000, ready, pid 11"
    assert lines[3].split() == [
        *("SERVICE", "READY", "REVISION", "STATE", "ADDRESS", "RESTARTS", "AGE", "MESSAGE")
    ]
    assert lines[4].split()[:4] == ["a", "1/1", "0123456789", "Ready"]
    assert lines[5].split()[:5] == ["a/0", "0123456789", "Ready", "127.0.0.1:4000", "3"]


def test_status_says_what_is_not_ready_by_message_and_code(folder: StateFolder) -> None:
    running(folder, "Degraded", "ended\nwith exit code 3")
    shown = slipway(folder, "status")
    assert shown.exit_code == 1
    assert "BackOff: ended with exit code 3" in shown.output


def test_status_as_json_is_the_report(folder: StateFolder) -> None:
    running(folder)
    shown = slipway(folder, "status", "-o", "json")
    assert json.loads(shown.output) == observed(folder)
    assert json.loads(shown.output)["ready"] is True


def test_services_are_listed_alike_in_a_table_and_as_json(folder: StateFolder) -> None:
    running(folder)
    answer = slipway(folder, "get")
    assert answer.output.splitlines()[1].split()[:5] == ["a", "a", "1/1", "Ready", "0123456789"]
    (view,) = json.loads(slipway(folder, "get", "-o", "json").output)
    assert (view["state"], view["revisions"][0]["replicas"][0]["name"]) == ("Ready", "a/0")


def test_a_service_is_described_with_where_its_logs_are(folder: StateFolder) -> None:
    running(folder)
    answer = slipway(folder, "describe", "a")
    assert "State:     Ready" in answer.output
    assert "a/0  /l" in answer.output


def test_logs_are_those_of_the_replicas(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\nthree\n")
    running(folder, log=str(tmp_path / "log"))
    assert slipway(folder, "logs", "a", "--tail", "2").output == "two\nthree\n"
    assert slipway(folder, "logs", "a", "--revision", "99").exit_code == 1
    assert "in one log" in slipway(folder, "logs", "a", "--previous").output


def test_a_rollout_of_a_local_run_has_a_status_and_no_commands(folder: StateFolder) -> None:
    running(folder)
    assert slipway(folder, "rollout", "status", "a").output == "Ready: 1 of 1 replicas are ready\n"
    running(folder, "Failed", "no such model")
    assert slipway(folder, "rollout", "status", "a").exit_code == 1
    running(folder, "Progressing")
    assert slipway(folder, "rollout", "status", "a", "--timeout", "0.1").exit_code == 3
    answer = slipway(folder, "rollout", "undo", "a")
    assert answer.exit_code == 1
    assert "run `slipway up` again" in answer.output


def test_a_service_is_explained_and_anything_else_is_a_request(folder: StateFolder) -> None:
    running(folder)
    assert "Nothing is wrong." in slipway(folder, "explain", "a").output
    request = slipway(folder, "explain", "mine-1")
    assert request.exit_code == 1
    assert "service" not in request.output  # It asked a gateway, which is not there.


def test_a_key_is_printed_once_and_listed_without_itself(folder: StateFolder) -> None:
    made = slipway(
        folder, "key", "create", "ci", "--owner", "team", "--model", "small*", "--expires-in", "30d"
    )
    assert made.exit_code == 0
    plain = made.stdout.strip()
    assert plain.startswith("sk-slipway-")
    assert "not shown again" in made.stderr
    listed = slipway(folder, "key", "list")
    assert listed.output.splitlines()[1].split()[:4] == ["ci", "team", "member", "small*"]
    assert "active" in listed.output
    as_json = slipway(folder, "key", "list", "-o", "json")
    assert json.loads(as_json.output)[0]["spec"]["models"] == ["small*"]
    assert plain not in listed.output + as_json.output
    revoked = slipway(folder, "key", "revoke", "ci")
    assert revoked.output == "Revoked ci.\n"
    assert "No keys." in slipway(folder, "key", "list").output


def test_a_keys_limits_are_kept_and_listed(folder: StateFolder) -> None:
    limits = ["--requests-per-minute", "5", "--tokens-per-minute", "600", "--tokens-per-day", "7000"]
    budgets = ["--max-parallel", "8", "--budget-day", "1.50", "--budget-month", "20"]
    made = slipway(folder, "key", "create", "ci", *limits, *budgets, "-o", "json")
    assert json.loads(made.stdout)["spec"]["limits"] == {
        "requestsPerMinute": 5,
        "tokensPerMinute": 600,
        "tokensPerDay": 7000,
        "maxParallel": 8,
        "budgetUSD": {"day": "1.50", "month": "20"},
    }
    listed = slipway(folder, "key", "list").output.splitlines()
    assert listed[1].split()[4:9] == ["5", "600", "7000", "8", "$1.50/day,$20/month"]


def test_an_admins_key_is_made_and_listed(folder: StateFolder) -> None:
    made = slipway(folder, "key", "create", "boss", "--role", "admin", "--priority", "high", "-o", "json")
    spec = json.loads(made.stdout)["spec"]
    assert (spec["role"], spec["priority"]) == ("admin", "high")
    assert slipway(folder, "key", "list").output.splitlines()[1].split()[:3] == ["boss", "default", "admin"]


def test_a_rotated_key_is_printed_once_and_says_how_long_the_old_one_works(folder: StateFolder) -> None:
    old = slipway(folder, "key", "create", "ci").stdout.strip()
    rotated = slipway(folder, "key", "rotate", "ci", "--overlap", "12h")
    plain = rotated.stdout.strip()
    assert plain.startswith("sk-slipway-")
    assert plain != old
    assert "The one before works until " in rotated.stderr
    assert plain not in slipway(folder, "key", "list", "-o", "json").output
    assert "works no more" in slipway(folder, "key", "rotate", "ci", "--overlap", "0").stderr
    as_json = slipway(folder, "key", "rotate", "ci", "-o", "json")
    assert json.loads(as_json.stdout)["key"].startswith("sk-slipway-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["key", "create", "A"], "Error: name: `A` is not a name"),
        (["key", "create", "a", "--budget-week", "ten"], "Error: budgetUSD.week: "),
        (["key", "create", "a", "--expires-in", "soon"], "Error: 'soon' is not a length of time"),
        (["key", "rotate", "a"], "Error: There is no key a; `slipway key list` shows"),
        (["key", "revoke", "a"], "Error: There is no key a; `slipway key list` shows"),
        (["up", "-f", "nowhere.yaml"], "Error: nowhere.yaml: there is no such file"),
        (["describe", "b"], "Nothing runs in"),
        (["chat", "-m", "hi"], "Error: No run is known in"),
        (["models"], "start one with `slipway up`, or name a gateway with --url."),
        (["models", "--url", "ftp://x"], "Error: ftp://x is not an address; write it as http://HOST:PORT."),
        (["models", "--url", "http://127.0.0.1:1"], "cannot be reached (Connection refused): is it running?"),
    ],
)
def test_what_goes_wrong_is_a_sentence(folder: StateFolder, arguments: list[str], said: str) -> None:
    shown = slipway(folder, *arguments)
    assert shown.exit_code == 1
    assert said in shown.output
    assert "Traceback" not in shown.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_back(folder: StateFolder, shell: str) -> None:
    script = slipway(folder, "completion", shell).output
    assert "_SLIPWAY_COMPLETE" in script
    answer = CliRunner().invoke(
        main,
        [],
        prog_name="slipway",
        env={"_SLIPWAY_COMPLETE": "bash_complete", "COMP_WORDS": "slipway st", "COMP_CWORD": "1"},
    )
    assert answer.output.strip() == "plain,status"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)
