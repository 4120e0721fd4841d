"""Dashboards and alerts against what a real Prometheus scrapes from a real gateway and a real engine."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from integration.stack.running import CHAT, EMBED, Stack
from integration.waiting import free_port, until

CHARTS = Path(__file__).resolve().parents[3] / "charts/slipway"
PANELS = [
    (file.stem, panel["title"], target["expr"])
    for file in sorted((CHARTS / "dashboards").glob("*.json"))
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
]


class Prometheus:
    """A real Prometheus with a second's interval."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        assert shutil.which("prometheus"), "Install Prometheus (make test-packages)."
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [address]}]}
            for name, address in targets.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(CHARTS / "alerts/slipway.yaml")],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str, **query: str) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}", timeout=5) as answer:
                return json.loads(answer.read())["data"]
        except OSError:
            return None

    def query(self, expr: str) -> list[Any]:
        found = self.get("query", query=expr)
        return found["result"] if found else []

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="module")
def prometheus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Has scraped gateway and engines before and after some traffic."""
    targets = {"slipway-gateway": stack.url.removeprefix("http://")}
    for service in (CHAT, EMBED):
        targets[f"engine-{service}"] = stack.engine(service)[0].removeprefix("http://")
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        until(lambda: len(made.query("up == 1")) == len(targets), "all targets scraped")
        client = stack.client()
        for _ in range(2):
            stream = client.chat.completions.create(
                model=CHAT, messages=[{"role": "user", "content": "Hi"}], max_tokens=8, stream=True
            )
            assert list(stream)
            answer = client.embeddings.with_raw_response.create(model=EMBED, input="a")
            said = {"request_id": answer.headers["x-request-id"], "rating": "down"}
            client.post("/feedback", body=said, cast_to=object)
        after, scraped = time.time() + 1, "min(timestamp(up))"
        until(lambda: float(made.query(scraped)[0]["value"][1]) > after, "all targets scraped again")
        counted = 'count_over_time(slipway_feedback_total{rating="down"}[1m]) > 1'
        until(lambda: bool(made.query(counted)), "a rating scraped twice")
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize(("dashboard", "title", "expr"), PANELS)
def test_every_panel_shows_something(prometheus: Prometheus, dashboard: str, title: str, expr: str) -> None:
    shown = expr.replace("$__rate_interval", "1m").replace("$model", f"{CHAT}|{EMBED}")
    assert "$" not in shown
    assert prometheus.query(shown), f"{dashboard}: {title}: {shown}"


def test_every_rule_evaluates_and_no_alert_fires_in_good_health(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(
        yaml.safe_load((CHARTS / "alerts/slipway.yaml").read_text())["groups"][0]["rules"]
    )
    until(
        lambda: all(r["health"] == "ok" for g in prometheus.get("rules")["groups"] for r in g["rules"]),
        "all rules evaluated",
    )
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_the_rules_pass_promtools_own_tests() -> None:
    command = ["promtool", "test", "rules", "tests.yaml"]
    done = subprocess.run(command, cwd=CHARTS / "alerts", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
