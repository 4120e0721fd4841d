"""Objects in the state folder: written as a file asks for, read as they were last applied."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from slipway.local.errors import LocalError
from slipway.local.folders import StateFolder
from slipway.local.keys import MANAGED_BY
from slipway.objects.apikeys import APIKey, APIKeySpec, APIKeyStatus
from slipway.objects.llmservices import LLMService
from slipway.objects.loading import Loaded, LoadError, Object, load_file
from slipway.objects.meta import Metadata
from slipway.objects.plainkeys import key_hash, new_key


class KeyClashError(LocalError):
    """A file's key has the name of one that `slipway key create` made."""


@dataclass(frozen=True)
class Applied:
    """What came of writing a file's objects."""

    sequence: int
    """Counts the writes; the supervisor reports the one it has taken up."""
    api_key: str | None
    """A plain key that calls the file's models, to show."""


def object_path(state: StateFolder, made: Object) -> Path:
    return state.objects / f"{made.kind.lower()}-{made.metadata.name}.yaml"


def as_yaml(made: Object) -> str:
    """The object as YAML that `loading.load` reads back."""
    data = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(made, LLMService):
        data.pop("status", None)
    head = {"apiVersion": data.pop("apiVersion"), "kind": data.pop("kind"), "metadata": data.pop("metadata")}
    return yaml.safe_dump(head | data, sort_keys=False, allow_unicode=True)


def write_object(state: StateFolder, made: Object) -> bool:
    """Write the object if it differs from what is there. Raises OSError."""
    path, text = object_path(state, made), as_yaml(made)
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    state.write(path, text)
    return True


def read_keys(state: StateFolder) -> dict[str, APIKey]:
    """The keys by name; a file that cannot be read is left out."""
    keys: dict[str, APIKey] = {}
    for path in sorted(state.objects.glob("apikey-*.yaml")):
        try:
            keys |= {key.metadata.name: key for key in load_file(path).keys}
        except LoadError:
            continue
    return keys


def read_services(state: StateFolder) -> dict[str, LLMService]:
    """The services by name. Raises LoadError if one file cannot be read."""
    services: dict[str, LLMService] = {}
    for path in sorted(state.objects.glob("llmservice-*.yaml")):
        services |= {service.metadata.name: service for service in load_file(path).services}
    return services


def apply(state: StateFolder, loaded: Loaded, now: datetime) -> Applied:
    """Make the state folder's objects those of a file: written, changed, removed.

    Keys that `slipway key create` made stay. Raises KeyClashError before anything is written, StateError.
    """
    with state.explained(), state.applying():
        there = read_keys(state)
        for key in loaded.keys:
            old = there.get(key.metadata.name)
            if old is not None and MANAGED_BY not in old.metadata.annotations:
                raise KeyClashError(
                    f"APIKey {key.metadata.name} was made by `slipway key create` already: rename it in the "
                    f"file, or revoke the other with `slipway key revoke {key.metadata.name}`."
                )
        keys = [_with_hash(state, key, there.get(key.metadata.name), now) for key in loaded.keys]
        keys = keys or [_with_hash(state, _default_key(), there.get("local"), now)]
        written: list[Object] = [*loaded.services, *loaded.owners, *loaded.routes, *keys]
        for made in written:
            write_object(state, made)
        _prune(state, {object_path(state, made).name for made in written}, there)
        sequence = state.sequence() + 1
        state.write_json(state.applied, {"sequence": sequence})
    return Applied(sequence, _shown(state, keys))


def _default_key() -> APIKey:
    """The key of a file that holds none."""
    return APIKey(metadata=Metadata(name="local"), spec=APIKeySpec())


def _with_hash(state: StateFolder, key: APIKey, old: APIKey | None, now: datetime) -> APIKey:
    """`key` with its hash: the file's own, else that of its plain key, which is made on first sight."""
    metadata = key.metadata.model_copy(
        update={"annotations": {**key.metadata.annotations, MANAGED_BY: "file"}, "generation": None}
    )
    if key.status.key_hash is None:
        plain = state.secret(f"apikey-{key.metadata.name}")
        if plain is None:
            plain = new_key()
            state.write_secret(f"apikey-{key.metadata.name}", plain)
        status = APIKeyStatus(key_hash=key_hash(plain), created_at=now)
        if old is not None and old.status.key_hash == status.key_hash:
            status = old.status  # The secret before a rotation is in it.
    else:
        status = key.status
        (state.secrets / f"apikey-{key.metadata.name}").unlink(missing_ok=True)
    return key.model_copy(update={"metadata": metadata, "status": status})


def _prune(state: StateFolder, kept: set[str], keys: dict[str, APIKey]) -> None:
    for kind in ("llmservice", "owner", "modelroute"):
        for path in state.objects.glob(f"{kind}-*.yaml"):
            if path.name not in kept:
                path.unlink()
    for key in keys.values():
        path = object_path(state, key)
        if path.name not in kept and MANAGED_BY in key.metadata.annotations:
            path.unlink(missing_ok=True)
            (state.secrets / f"apikey-{key.metadata.name}").unlink(missing_ok=True)


def _shown(state: StateFolder, keys: Iterable[APIKey]) -> str | None:
    usable = [key for key in keys if not key.spec.disabled]
    for key in sorted(usable, key=lambda key: "*" not in key.spec.models):
        plain = state.secret(f"apikey-{key.metadata.name}")
        if plain is not None:
            return plain
    return None
