"""Feedback of a real gateway becomes a source of a dataset, and tells of falling ratings."""

import asyncio
import json
import os
import sys
from pathlib import Path

from integration.feedback.test_feedback import asked, opened, say
from integration.gateway.conftest import StartUpstream
from integration.gateway.conftest import start as start  # A fixture.
from integration.usage.conftest import StartPlace


async def slipway(*arguments: str, port: int, key: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command line, which finds the training packages itself."""
    environment = os.environ | {"SLIPWAY_API_KEY": key, "SLIPWAY_URL": f"http://127.0.0.1:{port}"}
    command = [sys.executable, "-m", "slipway", "data", *arguments]
    ran = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await ran.communicate()
    return ran.returncode or 0, out.decode(), errors.decode()


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": "No idea."}]


async def test_agreed_feedback_is_written_redacted_page_after_page(
    place: StartPlace, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    port = (await opened(place, start_upstream)).start().port()
    first, *others = [await asked(port) for _ in range(102)]  # More than one page.
    asks, right = conversation("Mail jane@company.com"), "I did: jane@company.com."
    await say(port, first, "down", messages=asks, expected=right)
    for number, request_id in enumerate(others):
        await say(port, request_id, messages=conversation(f"Question {number}?"))
    quiet = await asked(port)
    await say(port, quiet, "down", expected="Kept to myself.")

    file = tmp_path / "feedback.jsonl"
    code, out, errors = await slipway("from-feedback", "--to", str(file), port=port, key="sk-boss")

    assert code == 0, errors
    assert out.splitlines() == [
        f"102 records in {file}",
        "1 left out: its conversation was not agreed to be kept",
        "1 with EMAIL_ADDRESS redacted",
    ]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["request_id"] for row in rows}) == 102
    assert rows[-1]["messages"] == [
        {"role": "user", "content": "Mail <EMAIL_ADDRESS>"},
        {"role": "assistant", "content": "I did: <EMAIL_ADDRESS>."},
    ]
    assert quiet not in file.read_text()
    code, _, errors = await slipway("from-feedback", "--to", str(file), port=port, key="sk-boss")
    assert (code, "is there already" in errors) == (1, True)


async def test_a_wrong_key_gets_nothing(
    place: StartPlace, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    port = (await opened(place, start_upstream)).start().port()
    file = tmp_path / "feedback.jsonl"
    code, _, errors = await slipway("from-feedback", "--to", str(file), port=port, key="sk-wrong")
    assert (code, "401" in errors) == (1, True)
    assert not [name for name in os.listdir(tmp_path) if "feedback" in name]  # noqa: PTH208 - a test may block
