"""The console, served by the real gateway before a real model, in headless Chromium."""

import os
import subprocess
import sys
from pathlib import Path

from integration.stack.running import CHAT, Stack

TESTS = Path(__file__).parents[2] / "browser" / "test_chat.py"


def test_a_person_chats_stops_and_retries(stack: Stack) -> None:
    environ = {
        **os.environ,
        "SLIPWAY_CONSOLE_URL": stack.url,
        "SLIPWAY_API_KEY": stack.key,
        "SLIPWAY_CONSOLE_MODEL": CHAT,
    }
    # A process of its own: the browser's event loop must not meet that of other tests.
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS), "-p", "no:cacheprovider"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
