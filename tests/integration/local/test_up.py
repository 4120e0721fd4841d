"""`slipway up`, `down` and what lies between, with stand-in gateways and engines in real processes."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.local.places import Place, finish, key, service, until
from integration.waiting import free_port
from slipway.gateway.statuses import read_report


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path, free_port())
    here.file.write_text(service() + key())
    yield here
    for pid in here.processes():
        os.kill(pid, signal.SIGKILL)
    for process in here.started:
        process.communicate()


def test_up_prints_what_a_first_call_needs_and_ctrl_c_leaves_nothing(place: Place) -> None:
    place.file.write_text(service(replicas=2) + key())
    run = place.up()
    until(place.ready, "ready")
    assert run.stdout is not None
    lines = [run.stdout.readline().rstrip("\n") for _ in range(4)]
    assert lines[0] == f"Gateway: http://127.0.0.1:{place.port}"
    assert lines[1].startswith(f"Console: http://127.0.0.1:{place.port}")
    shown = re.fullmatch(r"API key: (sk-slipway-\S+)", lines[2])
    assert shown
    assert lines[3].startswith(f"curl -sN http://127.0.0.1:{place.port}/v1/chat/completions")
    assert shown[1] in lines[3]
    assert '"model": "a"' in lines[3]
    assert [entry["ready"] for entry in place.endpoints()["a"]] == [True, True]
    code, _, err = finish(run, signal.SIGINT)
    assert code == 0, err
    assert place.processes() == []
    assert place.status()["supervisor"]["state"] == "Stopped"
    secret = place.state / "secrets" / "apikey-local"
    assert secret.read_text().strip() == shown[1]
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700


def test_the_same_key_is_shown_by_a_later_run(place: Place) -> None:
    shown = []
    for _ in range(2):
        run = place.up()
        assert run.stdout is not None
        shown.append([run.stdout.readline() for _ in range(4)][2])
        assert finish(run, signal.SIGTERM)[0] == 0
    assert shown[0] == shown[1]
    assert shown[0].startswith("API key: sk-slipway-")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_it_is_ready_stops_it_and_says_so_by_its_code(
    place: Place, number: signal.Signals, code: int
) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: never"))
    run = place.up()
    until(lambda: "load" in json.dumps(place.rows()), "the engine loads")
    assert finish(run, number)[0] == code
    assert place.processes() == []


def test_a_second_ctrl_c_kills_what_does_not_finish(place: Place) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: deaf"))
    run = place.up()
    until(place.ready, "ready")
    run.send_signal(signal.SIGINT)
    until(lambda: [row["state"] for row in place.rows()] == ["Stopping"], "the engine is asked to stop")
    assert finish(run, signal.SIGINT)[0] == 0
    assert place.processes() == []


def test_a_killed_supervisor_leaves_no_process(place: Place) -> None:
    place.file.write_text(service(replicas=2, env="STANDIN_FAULT: child"))
    run = place.up()
    until(place.ready, "ready")
    assert len(place.processes()) >= 6, "supervisor, gateway, two engines with a child each"
    finish(run, signal.SIGKILL)
    until(lambda: place.processes() == [], "nothing is left")
    code, out, _ = place.run("down")
    assert (code, out) == (0, "Nothing runs.\n")
    assert place.endpoints() == {}


def test_down_finds_what_is_left_when_even_the_sentinel_was_killed(place: Place) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: child"))
    run = place.up()
    until(place.ready, "ready")
    until(
        lambda: any(len(each["members"]) > 1 for each in recorded(place)), "the engine's child is remembered"
    )
    for pid in place.processes():
        if b"sentinel.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    finish(run, signal.SIGKILL)
    until(lambda: len(place.processes()) == 1, "the engine's own child lives on")
    code, out, _ = place.run("down")
    assert code == 0
    assert re.search(r"Killed a-0-\w+, left without a supervisor", out)
    assert place.processes() == []


def recorded(place: Place) -> list[dict[str, Any]]:
    value: list[dict[str, Any]] = json.loads((place.state / "processes.json").read_text())["processes"]
    return value


def test_down_stops_a_run_and_says_what_it_did(place: Place) -> None:
    run = place.up()
    until(place.ready, "ready")
    code, out, _ = place.run("down")
    assert code == 0
    assert "Stopping the run" in out
    assert "Stopped." in out
    assert finish(run)[0] == 0
    assert place.processes() == []
    assert place.endpoints() == {}


def test_a_pid_that_another_process_has_now_is_not_killed(place: Place) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        place.state.mkdir()
        entry = {"name": "a-0", "pid": other.pid, "startTime": 1, "members": [[other.pid, 1]]}
        (place.state / "processes.json").write_text(json.dumps({"processes": [entry]}))
        code, out, _ = place.run("down")
        assert (code, out) == (0, "Nothing runs.\n")
        assert other.poll() is None
        other.kill()


def test_a_taken_port_is_named_with_its_process(place: Place) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", place.port))
        sock.listen()
        code, _, err = finish(place.up())
    assert code == 1
    assert f"Port {place.port} is taken by process {os.getpid()}" in err
    assert f"--port {place.port + 1}" in err
    assert place.processes() == []


def test_a_port_taken_by_another_run_names_its_state_folder(place: Place, tmp_path: Path) -> None:
    run = place.up()
    until(place.ready, "ready")
    code, _, err = finish(place.up("--state", str(tmp_path / "other")))
    assert code == 1
    assert f"another `slipway up` (state folder {place.state})" in err
    assert f"slipway down --state {place.state}" in err
    assert finish(run, signal.SIGINT)[0] == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fail", "There is no model at file:///nowhere: name one that exists."),
        ("crash", "ValueError: a trace"),
        ("crash", "logs/a-0-"),
    ],
)
def test_an_engine_that_dies_at_its_start_ends_the_run_with_the_cause(
    place: Place, fault: str, said: str
) -> None:
    place.file.write_text(service(env=f"STANDIN_FAULT: {fault}") + service("b"))
    code, out, err = finish(place.up())
    assert code == 1
    assert said in err
    assert out == ""
    assert place.processes() == []


def test_one_replica_that_dies_at_its_start_ends_the_run_though_another_is_ready(
    place: Place, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    place.file.write_text(service(replicas=2, env=f"STANDIN_FAULT: loner, STANDIN_GATE: {gate}"))
    run = place.up()
    until(lambda: "Ready" in [row["state"] for row in place.rows()], "one is ready")
    (gate / "go").touch()
    code, _, err = finish(run)
    assert code == 1
    assert "ended with exit code 3" in err
    assert place.processes() == []


def test_a_gateway_that_dies_at_its_start_ends_the_run_with_the_cause(place: Place) -> None:
    code, _, err = finish(place.up(STANDIN_GATEWAY_FAULT="crash"))
    assert code == 1
    assert "the gateway cannot start" in err
    assert place.processes() == []


def test_a_start_that_takes_too_long_ends_with_what_it_was_doing(place: Place) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: never"))
    code, _, err = finish(place.up("--timeout", "2"))
    assert code == 1
    assert "Not ready after 0:02 (--timeout); a/0: load, 10 %" in err
    assert place.processes() == []


def test_without_an_engine_nothing_starts(place: Place) -> None:
    code, _, err = finish(place.up(STANDIN_NO_ENGINE="1"))
    assert code == 1
    assert "make envs" in err
    assert not (place.state / "logs" / "gateway.log").exists()


def test_what_counts_on_a_cluster_alone_is_told_first(place: Place) -> None:
    place.file.write_text(service(strategy="BlueGreen"))
    code, _, err = finish(place.up(STANDIN_NO_ENGINE="1"))
    assert code == 1
    assert err.startswith(
        "Note: LLMService a: spec.rollout.strategy BlueGreen counts on a cluster alone; "
        "here changes are rolled out by RollingUpdate.\n"
    )


def test_an_engine_that_dies_later_comes_back(place: Place) -> None:
    run = place.up()
    until(place.ready, "ready")
    before = place.rows()[0]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: place.rows()[0]["restarts"] == 1, "started again")
    until(place.ready, "ready again")
    after = place.rows()[0]
    assert after["pid"] != before["pid"]
    assert [entry["address"] for entry in place.endpoints()["a"]] == [after["address"]]
    code, _, err = finish(run, signal.SIGINT)
    assert code == 0
    assert "SIGKILL" in err
    assert "starts again in 1 s" in err


def test_what_an_engine_started_goes_with_it(place: Place) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: child"))
    run = place.up()
    until(place.ready, "ready")
    os.kill(place.rows()[0]["pid"], signal.SIGKILL)
    until(lambda: place.rows()[0]["restarts"] == 1 and place.ready(), "ready again")
    assert len(place.processes()) == 5, "supervisor, sentinel, gateway, engine and its child"
    assert finish(run, signal.SIGINT)[0] == 0
    assert place.processes() == []


def test_a_gateway_that_dies_later_comes_back(place: Place) -> None:
    run = place.up()
    until(place.ready, "ready")
    os.kill(place.status()["gateway"]["pid"], signal.SIGKILL)
    until(lambda: place.status()["gateway"]["restarts"] == 1 and place.ready(), "ready again")
    assert finish(run, signal.SIGINT)[0] == 0


def test_a_changed_file_is_taken_up_and_unchanged_replicas_stay(place: Place) -> None:
    place.file.write_text(service() + service("b") + key())
    run = place.up()
    until(place.ready, "ready")
    before = {row["name"]: row["pid"] for row in place.rows()}
    place.file.write_text(service(replicas=2) + service("c") + key() + key("second"))
    code, out, err = place.run("up")
    assert code == 0, err
    assert out.startswith(f"Gateway: http://127.0.0.1:{place.port}\n")
    until(lambda: {row["name"] for row in place.rows()} == {"a/0", "a/1", "c/0"}, "b is gone")
    assert {row["name"]: row["pid"] for row in place.rows()}["a/0"] == before["a/0"]
    assert not Path(f"/proc/{before['b/0']}").exists()
    assert sorted(place.endpoints()) == ["a", "c"]
    assert (place.state / "objects" / "apikey-second.yaml").exists()
    assert finish(run, signal.SIGINT)[0] == 0


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Recreate"])
def test_a_new_revision_takes_the_place_of_the_old_one(place: Place, tmp_path: Path, strategy: str) -> None:
    gate = tmp_path / "gate"
    place.file.write_text(service(strategy=strategy))
    run = place.up()
    until(place.ready, "ready")
    old = place.rows()[0]
    slow = f"STANDIN_FAULT: slow, STANDIN_GATE: {gate}"
    place.file.write_text(service(strategy=strategy, env=slow))
    second = place.start("up")
    new = until(lambda: [row for row in place.rows() if row["revision"] != old["revision"]], "the new one")[0]
    alive = Path(f"/proc/{old['pid']}").exists()
    assert alive == (strategy == "RollingUpdate")
    served = [entry["address"] for entry in place.endpoints()["a"] if entry["ready"]]
    assert served == ([old["address"]] if alive else [])
    gate.touch()
    code, _, err = finish(second)
    assert code == 0, err
    assert [entry["revision"] for entry in place.endpoints()["a"]] == [new["revision"]]
    until(lambda: len(place.rows()) == 1, "the old one is gone")
    assert finish(run, signal.SIGINT)[0] == 0


def test_a_bad_revision_leaves_the_old_one_serving_and_says_so(place: Place) -> None:
    run = place.up()
    until(place.ready, "ready")
    old = place.rows()[0]
    place.file.write_text(service(env="STANDIN_FAULT: fail"))
    code, out, err = place.run("up")
    assert code == 1
    assert out == ""
    assert f"{old['revision']} goes on serving" in err
    assert "There is no model at file:///nowhere" in err
    served = [entry["address"] for entry in place.endpoints()["a"] if entry["ready"]]
    assert served == [old["address"]]
    shown = read_report((place.state / "status.json").read_bytes())["a"]  # As the gateway reads it.
    assert (shown.state, shown.reason, shown.ready_replicas) == ("Degraded", "StartFailed", 1)
    assert (old["revision"], "", 1) in [(each.revision, each.role, each.ready) for each in shown.revisions]
    place.file.write_text(service())
    assert place.run("up")[0] == 0
    assert [row["pid"] for row in place.rows()] == [old["pid"]]
    assert finish(run, signal.SIGINT)[0] == 0


def test_two_ups_at_once_are_one_run(place: Place) -> None:
    first, second = place.start("up", "--port", str(place.port)), place.start("up", "--port", str(place.port))
    until(lambda: None not in (first.poll(), second.poll()) or place.ready(), "ready")
    follower = until(
        lambda: [each for each in (first, second) if each.poll() is not None], "one of them only follows"
    )[0]
    supervisor = second if follower is first else first
    assert follower.returncode == 0, follower.communicate()
    code, out, err = finish(supervisor, signal.SIGINT)
    assert code == 0, err
    assert follower.communicate()[0] == out


def test_a_run_in_the_background_goes_on_until_down(place: Place) -> None:
    code, out, err = finish(place.up("--detach"))
    assert code == 0, err
    assert out.startswith(f"Gateway: http://127.0.0.1:{place.port}\n")
    assert place.ready()
    assert "Stopped." in place.run("down")[1]
    assert place.processes() == []


def test_a_run_is_up_once_the_gateway_answers_for_it(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gateway-gate"
    run = place.up("--detach", STANDIN_GATEWAY_GATE=str(gate))
    until(Path(f"{gate}-asked").exists, "the gateway is asked")
    assert place.ready()
    assert run.poll() is None
    gate.touch()
    code, out, err = finish(run)
    assert code == 0, err
    assert out.startswith(f"Gateway: http://127.0.0.1:{place.port}\n")
    assert "Stopped." in place.run("down")[1]


def test_a_run_in_the_background_that_fails_says_why_and_leaves_nothing(place: Place) -> None:
    place.file.write_text(service(env="STANDIN_FAULT: fail"))
    code, _, err = finish(place.up("--detach"))
    assert code == 1
    assert "There is no model at file:///nowhere" in err
    until(lambda: place.processes() == [], "nothing is left")


def test_mistakes_in_the_file_are_all_named_and_nothing_starts(place: Place) -> None:
    place.file.write_text(service(replicas=-1) + key().replace("owner:", "onwer:"))
    code, _, err = finish(place.up())
    assert code == 1
    assert "2 mistakes" in err
    assert "slipway.yaml:9:13: LLMService a: spec.replicas: `-1` is too small" in err
    assert "did you mean owner?" in err
    assert not place.state.exists()
