"""What `slipway eval` asks for. Light: the command line writes it, the training packages do it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.objects.finetunes import EvaluationSpec


class Request(BaseModel):
    """One evaluation by hand."""

    model_config = ConfigDict(extra="forbid")

    model: str
    """An address `http://HOST/v1`, a source such as `file:///path`, or a folder."""
    name: str = ""
    """The model's name behind the address."""
    base: str = ""
    """Of an adapter: folder or source of the model below it."""
    against: str = ""
    """What it is compared with: an address, a source or a folder."""
    against_name: str = ""
    """Its name behind the address."""
    data: str = ""
    """A JSONL file, or a dataset of the workspace, `NAME/VERSION`, whose test part is read."""
    training: str = ""
    """A JSONL file of the rows that it was trained on, where `data` is no dataset."""
    workspace: str = ""
    spec: EvaluationSpec = EvaluationSpec()
    tasks: Path | None = None
    """Folder of lm-evaluation-harness tasks."""
    classifier: Path | None = None
    """A model that tells toxic texts."""
    output: Path
    """Folder that is written to."""
    folds: int = Field(default=0, ge=0, le=100)
    """With several, `model` is a run of the workspace, which is trained anew for each."""
    limit: int | None = Field(default=None, ge=1)
    """Examples at most."""
    at_once: int = Field(default=8, ge=1, le=1024)
    """Questions under way, of a served model."""
    resamples: int = Field(default=1000, ge=10, le=100_000)
    seed: int = 0
    form: Literal["table", "json"] = "table"
    """How the result is printed."""
    quiet: bool = False
    """Without progress."""
