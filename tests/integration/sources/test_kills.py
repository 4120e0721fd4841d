"""Kills a fetch before each single change that it makes to the file system."""

from pathlib import Path

from unit.sources import models, worker
from unit.sources.processes import Worker, serves_the_whole
from unit.sources.webserver import Resource, WebServer


def test_no_moment_of_a_kill_leaves_anything_half(tmp_path: Path) -> None:
    with WebServer().running() as web:
        for name, data in models.files().items():
            web.resources[f"/{name}"] = Resource(data, etag=f'"{name}"')
        killed = Worker(tmp_path, web.url, "sweep").finish()[-1]["killed"]
        assert killed > 30
        for kill_at in range(1, killed + 1):
            folder = tmp_path / str(kill_at)
            serves_the_whole(folder)
            worker.fetch(folder, web.url)
            assert serves_the_whole(folder), f"killed before change {kill_at} of {killed}"
            assert not list((folder / "partial").iterdir())
