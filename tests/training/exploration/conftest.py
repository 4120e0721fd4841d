"""Datasets that the tests of exploration look at."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slipway.objects.datasets import DatasetSpec
from slipway.training.data.pipeline import prepare
from slipway.training.data.versions import DatasetVersion
from slipway.training.workspaces import Workspace
from training.augmentation.conftest import Work


def prepared(folder: Path, rows: Iterable[dict[str, Any] | str], **spec: Any) -> DatasetVersion:
    """A version made of rows, and of broken lines."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rows.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    asked = DatasetSpec.model_validate(
        {"format": "classification", "sources": [{"name": "rows", "source": file.as_uri()}], **spec}
    )
    return prepare("made", asked, Work(Workspace(folder / "workspace")))
