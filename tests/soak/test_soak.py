"""The short form of `make soak`."""

from pathlib import Path

import pytest

from soak.run import whole_soak


@pytest.mark.timeout(400)
async def test_under_faults_every_request_has_an_honest_end_and_one_record(tmp_path: Path) -> None:
    report = await whole_soak(tmp_path, 40, gateways=3, clients=12, seed=20261124)
    assert report.counts.get("complete", 0) > 300, str(report)
    assert report.problems == [], str(report)
