"""Reads the header of a safetensors file with bounds, before anything else of the file is looked at.

The format (https://github.com/huggingface/safetensors#format): eight bytes with the header's length, a JSON
object that names each tensor's dtype, shape and place, then the tensors one after the other without holes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 100_000_000
"""Bytes of a header at most; the format's own limit."""
_MOST_DIMENSIONS = 16
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header tells of it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the header's end."""
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    size: int
    """Bytes that the whole file has to have."""


def read(path: Path, longest: int = LONGEST) -> Header:
    """Read a file's header; its tensors are neither read nor loaded.

    Raises:
        ValueError: the file is no whole safetensors file; says why.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= longest:
            raise ValueError(f"its header would have {length} bytes, of at most {longest}")
        if 8 + length > size:
            raise ValueError(f"it has {size} bytes and should have {8 + length} for its header alone")
        text = file.read(length)
    tensors, metadata = _parse(text)
    promised = 8 + length + _end_of(tensors)
    if size != promised:
        raise ValueError(f"it has {size} bytes instead of {promised}")
    return Header(tensors, metadata, promised)


def _parse(text: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not text.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    try:
        header = json.loads(text, object_pairs_hook=_without_twins)
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"its header is no JSON ({type(error).__name__})") from error
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        raise ValueError("its metadata holds other things than texts")
    return {name: _tensor(name, about) for name, about in header.items()}, metadata


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("its header names something twice")
    return made


def _tensor(name: str, about: Any) -> Tensor:
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the tensor {name!r} is not told by dtype, shape and data_offsets")
    dtype, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"the tensor {name!r} has the unknown dtype {dtype!r}")
    if not _counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"the tensor {name!r} has no shape that can be")
    if not _counts(offsets) or len(offsets) != 2:
        raise ValueError(f"the tensor {name!r} has no place that can be")
    bits = _BITS[dtype]
    for dimension in shape:
        bits *= dimension
        if bits > 1 << 63:
            raise ValueError(f"the tensor {name!r} would be larger than any file")
    begin, end = offsets
    if bits % 8 or end - begin != bits // 8:
        raise ValueError(
            f"the tensor {name!r} has a place of {end - begin} bytes and a shape of {bits / 8:g}"
        )
    return Tensor(dtype, tuple(shape), begin, end)


def _counts(value: Any) -> bool:
    """Whether it is a list of whole numbers, none negative (and no booleans, which Python counts as such)."""
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _end_of(tensors: dict[str, Tensor]) -> int:
    """Where the last tensor ends. Raises ValueError if two overlap, or bytes between them are nobody's."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            what = "overlaps another one" if tensor.begin < at else "leaves a hole before it"
            raise ValueError(f"the tensor {name!r} {what}")
        at = tensor.end
    return at
