"""The dashboards in the chart: generated, and importable anywhere."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "charts/slipway/dashboards").glob("*.json"))


def test_the_files_are_what_the_script_writes() -> None:
    check = [sys.executable, str(ROOT / "scripts/dashboards"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_panel_names_a_data_source_of_its_own() -> None:
    assert FILES
    for file in FILES:
        document = json.loads(file.read_text())
        assert document["templating"]["list"][0]["type"] == "datasource"
        assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
        for panel in document["panels"]:
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert {source["uid"] for source in sources} == {"${datasource}"}
