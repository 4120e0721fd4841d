"""What a prepared dataset's rows look like: one schema for every format, so that parts of it can be mixed.

| format          | columns in use                                                        |
|-----------------|-----------------------------------------------------------------------|
| chat            | `messages`, the last of them the assistant's                            |
| completion      | becomes chat: the prompt is the user's message, the completion the answer |
| preference      | `messages` (the prompt), `chosen`, `rejected`                           |
| classification  | `text`, `label`                                                         |
| tokens          | `tokens`, `tags`                                                        |
| text            | `text`                                                                  |
"""

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    import pyarrow as pa


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    """system, user or assistant."""
    content: str


class Record(TypedDict):
    """One row. What its format does not use is left out or None."""

    id: str
    """First 32 hexadecimal digits of the SHA-256 of its content (not of where it came from)."""
    format: str
    source: str
    """The name of its source."""
    place: str
    """Where in the source: `FILE:LINE` or `FILE#ROW`, counted from 1."""
    augmented: str
    """The augmentation that made it; empty for records of the source."""
    slices: dict[str, str]
    """Further fields of the source, for slices, stratification and groups."""
    messages: NotRequired[list[Message] | None]
    chosen: NotRequired[str | None]
    rejected: NotRequired[str | None]
    text: NotRequired[str | None]
    label: NotRequired[str | None]
    tokens: NotRequired[list[str] | None]
    tags: NotRequired[list[str] | None]


def schema() -> "pa.Schema":
    """The Parquet schema of a part."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("place", pa.string(), nullable=False),
            pa.field("augmented", pa.string(), nullable=False),
            pa.field("slices", pa.map_(pa.string(), pa.string())),
            pa.field(
                "messages",
                pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])),
            ),
            pa.field("chosen", pa.string()),
            pa.field("rejected", pa.string()),
            pa.field("text", pa.string()),
            pa.field("label", pa.string()),
            pa.field("tokens", pa.list_(pa.string())),
            pa.field("tags", pa.list_(pa.string())),
        ]
    )
