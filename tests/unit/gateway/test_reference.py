"""docs/api.md: what of it is generated is up to date, and what is not leaves nothing out."""

import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from slipway.gateway.catalog import Snapshot
from slipway.gateway.metrics import Metrics

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_the_generated_parts_are_up_to_date() -> None:
    check = [sys.executable, str(ROOT / "scripts" / "api-reference"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_metric_is_described() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.watch(Snapshot, lambda address: 0, lambda service: 0)
    names = re.findall(r"^# HELP (\S+)", metrics.scrape().decode(), re.MULTILINE)
    names = [name for name in names if not name.endswith("_created")]
    assert len(names) > 10
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_error_code_of_the_gateway_is_described() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "service/slipway/gateway").rglob("*.py"))
    codes = re.findall(r'APIError\(\s*(\d{3}),\s*"(\w+)"', sources)
    assert len(codes) > 15
    described = [line for line in PAGE.splitlines() if line.startswith("| ")]
    missing = [
        (status, code)
        for status, code in codes
        if not any(line.startswith(f"| {status} ") and f"`{code}`" in line for line in described)
    ]
    assert missing == []
