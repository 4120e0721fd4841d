"""Where the objects of a local run lie: the state folder, which stands in for the API server."""

from collections.abc import Mapping
from pathlib import Path


def default_state(environment: Mapping[str, str]) -> Path:
    """`$SLIPWAY_STATE`, else `slipway` in `$XDG_STATE_HOME` or `~/.local/state`."""
    if named := environment.get("SLIPWAY_STATE"):
        return Path(named)
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "slipway"
