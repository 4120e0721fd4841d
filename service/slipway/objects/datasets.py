"""The data of a FineTune: where it comes from, what is done to it, what is kept back."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from slipway.objects.meta import Name, Part
from slipway.objects.rules import named_by
from slipway.objects.scalars import Fraction, Number
from slipway.objects.sources import MODEL_SOURCE

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/@-]*$", max_length=128)]
"""The name of a metric, a step or a field."""
DATA_SOURCE = rf"{MODEL_SOURCE}|^https?://\S+$"
Data = Annotated[str, StringConstraints(pattern=DATA_SOURCE, max_length=1024)]
"""Where data lies: as a model, or one file that is read from a web server."""
Format = Literal["chat", "completion", "preference", "classification", "tokens", "text"]


class DataSource(Part):
    """One of the places that the data comes from."""

    name: Name
    """What it is called in reports and in the lineage."""
    source: Data
    """Where it lies: hf://, s3://, file://, pypi:// or pvc://, a file or a folder of them; or one file by
    https://."""
    format: Format | None = None
    """What its records hold, where that differs from the dataset's."""
    weight: Number = Number("1")
    """How often its records are taken, beside those of the other sources: 2 takes each twice, 0.5 half."""
    part: Literal["train", "validation", "test"] | None = None
    """The part that all of its records go to; they are shared out by `split` if left out."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Where its records keep what a format asks for, such as `text: body` or `label: category`."""
    licence: Annotated[str, StringConstraints(max_length=64)] | None = None
    """SPDX identifier of its licence, for the model card and its warnings."""


class PreparationStep(Part):
    """One step of the data's preparation."""

    name: Word
    """What is done, such as `deduplicate`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the step."""


class AugmentationStep(Part):
    """One way to make more training records of those that are there."""

    name: Word
    """What is done, such as `synonyms`."""
    share: Number = Number("0.5")
    """Records made, for each record of the training part."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the step."""


class SplitSpec(Part):
    """What is kept back for validation and for the test."""

    validation: Fraction = Fraction("0.1")
    """Share that is evaluated while training."""
    test: Fraction = Fraction("0.1")
    """Share that is read once, by the evaluation at the end."""
    stratify_by: Word | None = None
    """A field whose values each part holds in the same shares; the label of a classification if left out."""
    group_by: Word | None = None
    """A field whose values are never in two parts, such as the author."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of the draw."""


class DatasetSpec(Part):
    """The data to learn from."""

    format: Format = "chat"
    """What a record holds: messages; prompt and completion; a preferred and a rejected answer; text and its
    label; tokens and their tags; or text alone."""
    sources: tuple[DataSource, ...] = Field(min_length=1, max_length=64, json_schema_extra=named_by("name"))
    """Where it comes from."""
    preparation: tuple[PreparationStep, ...] | None = Field(default=None, max_length=64)
    """Steps from the sources to clean records, in order; a careful choice of them if left out."""
    augmentation: tuple[AugmentationStep, ...] = Field(default=(), max_length=16)
    """What is added to the training part."""
    split: SplitSpec = SplitSpec()
    """What is kept back."""
    max_broken: Fraction = Fraction("0.1")
    """Share of a source's records that may be broken or hold something else than the format asks for; with
    more of them the data is refused."""
    version: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """The version that must come of it; preparation that makes another one is refused."""
