"""The state folder: what is written, kept and told of it."""

import json
import os
import signal
import socket
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.local.applying import KeyClashError, apply, as_yaml, read_keys, read_services
from slipway.local.commands import Installed
from slipway.local.errors import EngineMissingError, LocalError, PortTakenError, StateError
from slipway.local.folders import StateFolder, default_folder
from slipway.local.following import observed
from slipway.local.keyrings import create_key, revoke_key, state_of_key
from slipway.local.keys import expiry, key_hash, new_key
from slipway.local.logs import Tail, bound, last_words
from slipway.local.ports import FreePorts, require_free, url
from slipway.local.processes import Identity, Recorded, kill_leftovers
from slipway.objects.llmservices import LLMService
from slipway.objects.loading import Loaded, load

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SERVICE = """
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {name: a, labels: {team: x}}
spec:
  model: {source: "hf://x/y", task: embed}
  engine: {env: {A: "ü: 1"}, args: ["--x=[1]"], maxModelLen: 16}
  adapters: [{name: b, source: "s3://x/y"}]
---
"""
KEY = """
apiVersion: slipway.dev/v1alpha1
kind: APIKey
metadata: {name: key}
spec: {owner: me, limits: {requestsPerMinute: 5}}
---
"""


def objects(*texts: str) -> Loaded:
    return load("".join(texts).encode(), "f.yaml")


def named(name: str) -> str:
    return KEY.replace("name: key", f"name: {name}")


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_folder_follows_the_environment() -> None:
    assert default_folder({"SLIPWAY_STATE": "/x"}) == Path("/x")
    assert default_folder({"XDG_STATE_HOME": "/y"}) == Path("/y/slipway")
    assert default_folder({}) == Path.home() / ".local/state/slipway"


def test_a_write_that_fails_keeps_the_old_content(state: StateFolder) -> None:
    state.write(state.status, "old")
    with pytest.raises(UnicodeEncodeError):
        state.write(state.status, "new \ud800")
    assert state.status.read_text() == "old"
    assert [path.name for path in state.root.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"is not a folder: choose another with --state DIR"):
        StateFolder(tmp_path / "file" / "state").create()
    full = StateFolder(tmp_path).explain(OSError(28, "No space left on device"))
    assert "is on a full disk: free some space" in str(full)
    denied = StateFolder(tmp_path).explain(OSError(13, "Permission denied"))
    assert "cannot be written (Permission denied)" in str(denied)


def test_only_one_holds_the_lock(state: StateFolder) -> None:
    lock = state.try_lock()
    assert lock is not None
    assert not os.get_inheritable(lock)
    assert state.try_lock() is None
    os.close(lock)
    again = state.try_lock()
    assert again is not None
    os.close(again)


def test_what_is_written_is_read_back_the_same(state: StateFolder) -> None:
    loaded = objects(SERVICE, KEY)
    apply(state, loaded, NOW)
    service = read_services(state)["a"]
    assert service == loaded.services[0]
    assert service.revision == loaded.services[0].revision
    assert load(as_yaml(service).encode(), "x").services == (service,)


def test_a_plain_key_is_made_once_and_kept_apart_from_its_hash(state: StateFolder) -> None:
    first = apply(state, objects(SERVICE, KEY), NOW)
    second = apply(state, objects(SERVICE, KEY.replace("5}", "6}")), NOW + timedelta(days=1))
    assert first.api_key is not None
    assert first.api_key == second.api_key
    assert second.sequence == first.sequence + 1
    kept = read_keys(state)["key"]
    assert kept.status.key_hash == key_hash(first.api_key)
    assert kept.status.created_at == NOW
    assert kept.spec.limits.requests_per_minute == 6
    assert first.api_key not in (state.objects / f"apikey-{kept.metadata.name}.yaml").read_text()
    assert mode(state.secrets / f"apikey-{kept.metadata.name}") == 0o600
    assert mode(state.secrets) == mode(state.root) == 0o700


def test_a_file_without_keys_gets_one(state: StateFolder) -> None:
    applied = apply(state, objects(SERVICE), NOW)
    assert applied.api_key is not None
    assert list(read_keys(state)) == ["local"]
    assert list(read_keys(state)["local"].spec.models) == ["*"]


def test_what_left_the_file_goes_and_what_the_command_made_stays(state: StateFolder) -> None:
    apply(state, objects(SERVICE, named("one"), named("two")), NOW)
    made, plain = create_key(state, "ci", None, "me", ["*"], None, None, None)
    apply(state, objects(SERVICE.replace("name: a", "name: c"), named("two")), NOW)
    assert sorted(read_keys(state)) == ["ci", "two"]
    assert sorted(read_services(state)) == ["c"]
    assert state.secret("apikey-one") is None
    assert read_keys(state)["ci"] == made
    assert plain not in "".join(path.read_text() for path in state.root.rglob("*") if path.is_file())


def test_a_file_does_not_take_over_a_key_of_the_command(state: StateFolder) -> None:
    create_key(state, "ci", None, "me", ["*"], None, None, None)
    with pytest.raises(KeyClashError, match="slipway key revoke ci"):
        apply(state, objects(SERVICE, named("ci")), NOW)
    assert read_services(state) == {}


def test_a_hash_in_the_file_is_kept_and_no_plain_key_is_invented(state: StateFolder) -> None:
    given = named("own").replace("---\n", f"status: {{keyHash: {'a' * 64}}}\n---\n")
    assert apply(state, objects(given), NOW).api_key is None
    assert read_keys(state)["own"].status.key_hash == "a" * 64
    assert state.secret("apikey-own") is None


def test_a_disabled_key_is_not_shown(state: StateFolder) -> None:
    off = named("closed").replace("owner: me", "disabled: true")
    applied = apply(state, objects(off, named("open")), NOW)
    assert applied.api_key == state.secret("apikey-open")


def test_keys_are_made_and_revoked_by_command(state: StateFolder) -> None:
    key, plain = create_key(state, "ci", "30d", "team", ["small*"], 5, 6, 7)
    assert plain.startswith("sk-slipway-")
    assert key.status.key_hash == key_hash(plain)
    assert key.spec.limits.max_parallel == 7
    assert state_of_key(key) == "active"
    for name, expires_in, said in (
        ("ci", None, "There is a key ci already"),
        ("No", None, "name: `No` is not a name"),
        ("x", "soon", "'soon' is not a length of time"),
    ):
        with pytest.raises(LocalError, match=said):
            create_key(state, name, expires_in, "team", ["*"], None, None, None)
    with pytest.raises(LocalError, match=r"did you mean ci\?"):
        revoke_key(state, "cii")
    assert revoke_key(state, "ci") is False
    assert read_keys(state) == {}


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("48h", 2), ("1440m", 1), ("2w", 14)])
def test_lengths_of_time(text: str, days: int) -> None:
    assert expiry(text, NOW) == NOW + timedelta(days=days)


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1y", "1.5d", "99999999w", "d1"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        expiry(text, NOW)


def test_no_two_keys_are_alike() -> None:
    assert len({new_key() for _ in range(100)}) == 100


def test_engines_get_one_key_for_good(state: StateFolder) -> None:
    assert state.engine_key() == state.engine_key()
    assert mode(state.secrets / "engine-key") == 0o600


def test_a_status_of_a_supervisor_that_is_gone_counts_no_more(state: StateFolder) -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    about = {"pid": own.pid, "startTime": own.start, "startedAt": None, "state": "Running", "message": ""}
    written = {
        "supervisor": about,
        "applied": 1,
        "gateway": {"url": "http://x", "state": "Ready"},
        "services": [{"state": "Ready"}],
    }
    state.write_json(state.status, written)
    assert observed(state)["ready"] is True
    state.write_json(state.status, written | {"services": [{"state": "Degraded"}]})
    assert observed(state)["ready"] is False
    state.write_json(state.status, written | {"supervisor": about | {"startTime": own.start - 1}})
    gone = observed(state)
    assert gone["ready"] is False
    assert gone["supervisor"]["pid"] is None
    assert "killed" in gone["supervisor"]["message"]
    assert gone["services"] == []


def test_a_pid_with_another_start_time_is_another_process() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        identity = Identity.of(process.pid)
        assert identity is not None
        assert identity.alive()
        other = Recorded("x", identity.pid, (Identity(identity.pid, identity.start + 1),))
        assert kill_leftovers([other]) == []
        assert process.poll() is None
        same = Recorded("x", identity.pid, (identity,))
        assert kill_leftovers([same]) == [same]
        assert process.wait() == -signal.SIGKILL
    assert Recorded.from_json(json.loads(json.dumps(other.as_json()))) == other
    assert Recorded.from_json({"name": "x", "pid": 1, "members": "?"}) is None


def test_a_taken_port_is_told_from_a_free_one() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Port {port} is taken by process {os.getpid()}"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    with pytest.raises(PortTakenError, match="is not an address of this machine"):
        require_free("203.0.113.7", port)
    with pytest.raises(PortTakenError, match="is not an address of this machine"):
        require_free("no such host", port)


def test_free_ports_differ_and_addresses_are_for_people() -> None:
    ports = FreePorts()
    assert len({ports.take() for _ in range(20)}) == 20
    assert url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url("::1", 2) == "http://[::1]:2"


def test_the_last_words_are_the_failed_event_or_the_last_lines() -> None:
    event = {"event": "failed", "reason": "NoModel", "message": "There is none."}
    assert last_words(f"x\n{json.dumps(event)}\ny\n".encode()) == ("NoModel", "There is none.")
    lines = "".join(f"line {n}\n" for n in range(20)).encode()
    line = json.dumps({"level": "error", "message": "m"}).encode()
    bare = json.dumps({"level": "info", "message": "m"}).encode()
    assert last_words(lines + bare + b"\n", 3) == ("", "  line 18\n  line 19\n  info: m")
    assert last_words(line + b"\n" + bare + b"\n") == ("", "  error: m")
    assert last_words(line + b"\nValueError: x\n", 1) == ("", "  ValueError: x")
    assert last_words(b"") == ("", "")
    assert last_words(b"{broken\n\xff\n") == ("", "  {broken\n  \ufffd")


def test_a_tail_gives_whole_lines_and_only_its_own_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier one\n")
    tail = Tail(log)
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.read() == b"one\n"
        file.write("o\n")
        file.flush()
        assert tail.read() == b"two\n"
    assert tail.end() == b"one\ntwo\n"


def test_a_log_stays_bounded_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        tail = Tail(log)
        bound(log, keep=80)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "log.1").read_bytes() == b"x" * 10
    assert tail.read() == b"new\n"


def test_commands_put_the_address_before_the_flags_of_vllm() -> None:
    service: LLMService = objects(SERVICE).services[0]
    commands = Installed({"SLIPWAY_ENGINE_PYTHON": "venv/bin/python"})
    argv = commands.engine(service, 4000)
    assert argv[:4] == [str(Path.cwd() / "venv/bin/python"), "-m", "slipway", "engine"]
    assert argv.index("--port") < argv.index("--") < argv.index("--x=[1]")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "does not exist: make the engines' environment with `make envs`"),
        ("echo vllm slipway", "has no vllm, slipway: make the engines'"),
        ("echo broken >&2; exit 3", r"does not run \(broken\)"),
    ],
)
def test_an_interpreter_that_cannot_run_engines_is_refused(
    tmp_path: Path, script: str | None, said: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    with pytest.raises(EngineMissingError, match=said):
        Installed({"SLIPWAY_ENGINE_PYTHON": str(python)}).check()


def test_an_interpreter_with_all_that_an_engine_needs_is_taken(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho\n")
    python.chmod(0o755)
    Installed({"SLIPWAY_ENGINE_PYTHON": str(python)}).check()
