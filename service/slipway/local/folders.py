"""The state folder: everything a local run knows, found again by `status` and `down`.

Every file is replaced by rename, so that a reader never sees half of one.
"""

import errno
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.local.errors import StateError


class StateFolder:
    """Paths of the state folder, and how its files are written."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (Path.resolve would follow links)
        self.objects = self.root / "objects"
        self.secrets = self.root / "secrets"
        self.logs = self.root / "logs"
        self.endpoints = self.root / "endpoints.json"
        self.status = self.root / "status.json"
        self.processes = self.root / "processes.json"
        self.applied = self.root / "applied.json"
        self.durations = self.root / "durations.json"
        self.lock = self.root / "supervisor.lock"

    def create(self) -> None:
        """Make the folder, for its owner alone, and prove that it can be written. Raises StateError."""
        with self.explained():
            for folder in (self.root, self.objects, self.secrets, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.secrets):
                folder.chmod(0o700)
            probe = self.root / f".writable-{os.getpid()}"
            try:
                probe.write_bytes(b"x" * 4096)
            finally:
                probe.unlink(missing_ok=True)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns the OSErrors of writing into a StateError that says what to do."""
        try:
            yield
        except OSError as error:
            raise self.explain(error) from error

    def explain(self, error: OSError) -> StateError:
        """Why the folder cannot be used, as a sentence."""
        where = f"The state folder {self.root}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StateError(
                f"{where} is on a full disk: free some space, or choose another with --state DIR."
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return StateError(
                f"{where} cannot be written ({error.strerror}): choose another with --state DIR."
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return StateError(f"{where} is not a folder: choose another with --state DIR.")
        return StateError(
            f"{where} cannot be used ({error.strerror or error}): choose another with --state DIR."
        )

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Replace `path` by `text`. Raises OSError; the old content stays then."""
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def write_json(self, path: Path, value: Any) -> None:
        self.write(path, json.dumps(value, indent=1) + "\n")

    def read_json(self, path: Path) -> dict[str, Any]:
        """The mapping in `path`; an empty one if there is none or it cannot be read."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def sequence(self) -> int:
        """How many files were applied; 0 if that cannot be read."""
        value = self.read_json(self.applied).get("sequence")
        return value if isinstance(value, int) else 0

    def secret(self, name: str) -> str | None:
        """The plain secret `name`, or None."""
        try:
            return (self.secrets / name).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def write_secret(self, name: str, value: str) -> None:
        self.write(self.secrets / name, value + "\n", 0o600)

    def brought(self, service: str) -> Path:
        """Which adapters FineTunes have brought to a service, {NAME: SOURCE}: for engines that begin anew."""
        return self.root / "brought" / f"{service}.json"

    def engine_key(self) -> str:
        """The key that engines ask for, made on first use."""
        key = self.secret("engine-key")
        if key is None:
            key = f"engine-{secrets.token_urlsafe(32)}"
            self.write_secret("engine-key", key)
        return key

    @contextmanager
    def applying(self) -> Iterator[None]:
        """Held while objects are written, so that two writers never mix theirs."""
        with (self.root / "apply.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def try_lock(self) -> int | None:
        """Take the supervisor's lock: its descriptor, or None where another supervisor holds it.

        The lock ends with the last process that holds the descriptor; children do not inherit it.
        """
        handle = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        return handle
