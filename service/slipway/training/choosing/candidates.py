"""The models that can be chosen from: the catalogue of the package, and those that the user names."""

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from slipway.sources.addresses import HubAddress, parse
from slipway.sources.errors import SourceError
from slipway.training.choosing.architectures import Architecture
from slipway.training.errors import TuningError

Task = Literal["generate", "classify", "tag"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and what is known of it."""

    name: str
    source: str
    """As `baseModel.source` has it."""
    architecture: Architecture
    licence: str | None
    """SPDX identifier, or the maker's own name for it; None where it is not known."""
    languages: tuple[str, ...]
    """ISO 639-1; none where they are not known."""
    tasks: tuple[Task, ...]
    released: str = ""
    """Year and month."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Well-known open models."""

    taken: str
    """Where the figures come from."""
    as_of: str
    candidates: tuple[Candidate, ...]


def catalogue() -> Catalogue:
    """The package's own."""
    document = json.loads((files("slipway.training.choosing") / "catalogue.json").read_text())
    return Catalogue(document["taken"], document["as_of"], tuple(map(_entry, document["models"])))


def named(source: str) -> Candidate:
    """A model of the user: a folder, or an address whose config.json is read, the hub's included.

    Raises:
        TuningError: there is no config.json, or its family is not known and no weights are there to count.
    """
    if "://" not in source or source.startswith("file://"):
        return _of_folder(Path(source.removeprefix("file://")).expanduser().resolve())
    try:
        address = parse(source)
    except SourceError as error:
        raise TuningError(str(error), "BadModel") from None
    known = {each.source: each for each in catalogue().candidates}
    if not isinstance(address, HubAddress):
        return _of_folder(_fetched(source), source)
    if source in known:
        return known[source]
    return _candidate(source.removeprefix("hf://"), source, _of_hub(address), None)


def _entry(entry: Mapping[str, Any]) -> Candidate:
    return Candidate(
        entry["name"],
        f"hf://{entry['name']}",
        Architecture.of(entry["config"]),
        entry["licence"],
        tuple(entry["languages"]),
        tuple(entry["tasks"]),
        entry["released"],
    )


def _candidate(name: str, source: str, config: Mapping[str, Any], folder: Path | None) -> Candidate:
    architecture = Architecture.of(config)
    if folder is not None and (counted := _counted(folder)):
        grown = counted - architecture.parameters
        architecture = replace(architecture, parameters=counted, active=architecture.active + grown)
    tasks: dict[str, tuple[Task, ...]] = {
        "decoder": ("generate", "classify"),
        "encoder": ("classify", "tag"),
        "encoder-decoder": ("generate",),
    }
    licence, languages = _card(folder) if folder else (None, ())
    return Candidate(name, source, architecture, licence, languages, tasks[architecture.shape])


def _of_folder(folder: Path, source: str | None = None) -> Candidate:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except OSError:
        raise TuningError(
            f"{folder} has no config.json; name a folder with a model.", "ModelMissing"
        ) from None
    except ValueError:
        raise TuningError(f"{folder / 'config.json'} is no JSON.", "BadModel") from None
    name = source or config.get("_name_or_path") or folder.name
    return _candidate(name, source or folder.as_uri(), config, folder)


def _fetched(source: str) -> Path:
    from slipway.sources import fetch

    try:
        return fetch(source).path
    except SourceError as error:
        raise TuningError(str(error), "ModelMissing") from None


def _of_hub(address: HubAddress) -> Mapping[str, Any]:
    """The config.json alone, not the weights."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise TuningError(
            f"Reading {address} needs huggingface_hub: pip install 'slipway[sources]'.", "ModelMissing"
        ) from None
    try:
        path = hf_hub_download(
            address.repo, "config.json", revision=address.revision, endpoint=os.environ.get("HF_ENDPOINT")
        )
        config: Mapping[str, Any] = json.loads(Path(path).read_bytes())
    except Exception as error:  # Which HTTP library raises here changes with huggingface_hub's version.
        raise TuningError(f"The config.json of {address} cannot be read: {error}", "ModelMissing") from None
    return config


def _counted(folder: Path) -> int:
    """Parameters in the folder's safetensors by their headers; 0 where there are none."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for side in tensor["shape"]:
                    size *= side
                count += size
    return count


def _card(folder: Path) -> tuple[str | None, tuple[str, ...]]:
    """Licence and languages that the folder's model card names."""
    card = folder / "README.md"
    found = (
        re.match(r"---\n(.*?)\n---", card.read_text(errors="replace"), re.DOTALL) if card.exists() else None
    )
    if found is None:
        return None, ()
    import yaml

    try:
        head = yaml.safe_load(found[1])
    except yaml.YAMLError:
        return None, ()
    if not isinstance(head, dict):
        return None, ()
    languages = head.get("language") or []
    listed = [languages] if isinstance(languages, str) else languages
    licence = head.get("license_name") if head.get("license") == "other" else head.get("license")
    return licence, tuple(str(each) for each in listed)
