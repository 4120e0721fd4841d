"""Takes away versions that nobody needs. What is promoted, deployed, current or made use of is never taken.

A version may go if it is retired, or a candidate older than the newest few of its name; and only if it has
stood so for a while, and nothing names it: no served model or adapter, no run as its newest result, and no
version that is kept as what it was made of. When in doubt it stays: a file that cannot be read ends it all.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree

from slipway.training.errors import RegistryError
from slipway.training.registry import stages
from slipway.training.registry.records import Record
from slipway.training.registry.stages import Standing
from slipway.training.registry.store import SCRATCH, Registry

_REFERENCE = re.compile(r"(?<![\w.-])([a-z0-9][-a-z0-9.]{0,62})/(v[1-9][0-9]{0,8})(?![\w.])")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Named:
    """Versions that something names, by reference or by digest."""

    references: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()

    @classmethod
    def in_texts(cls, texts: Iterable[str]) -> "Named":
        """All that texts name: objects, statuses, outcomes, as YAML or JSON."""
        references: set[str] = set()
        digests: set[str] = set()
        for text in texts:
            references |= {f"{name}/{version}" for name, version in _REFERENCE.findall(text)}
            digests |= set(_DIGEST.findall(text))
        return cls(frozenset(references), frozenset(digests))

    def __contains__(self, record: Record) -> bool:
        return record.reference in self.references or record.digest in self.digests


@dataclass(frozen=True, slots=True)
class Policy:
    """What may go."""

    keep: int = 3
    """Newest versions of each name that stay, whatever their stage."""
    settled: timedelta = timedelta(days=1)
    """How long a version must have stood as it does."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a version, and why."""

    record: Record
    goes: bool
    why: str


def judge(
    records: Iterable[Record],
    standing: Callable[[Record], Standing],
    named: Named,
    policy: Policy,
    now: datetime,
) -> list[Verdict]:
    """A verdict for each version, pure."""
    every = list(records)
    newest: dict[str, list[Record]] = {}
    for record in every:
        newest.setdefault(record.name, []).append(record)
    young = {each.reference for of_name in newest.values() for each in of_name[-policy.keep :] if policy.keep}
    verdicts = {
        record.reference: _alone(record, standing(record), named, policy, now, young) for record in every
    }
    _keep_ancestors(every, verdicts)
    return list(verdicts.values())


def in_use(folders: Iterable[Path], runs: Path, more: Iterable[str] = ()) -> Named:
    """What is deployed, or about to be, by the state folders of local runs, the workspace's runs, and texts.

    Raises:
        RegistryError: a file cannot be read, so that what it names is not known.
    """
    return Named.in_texts([*_texts(folders, runs), *more])


def collect(
    registry: Registry, named: Callable[[], Named], policy: Policy, *, dry: bool, now: datetime | None = None
) -> list[Verdict]:
    """Judge all versions and, unless `dry`, take away those that may go.

    Args:
        named: what is in use; asked again before each removal, with the registry held.
    """
    at = now or datetime.now(UTC)
    verdicts = _judged(registry, named(), policy, at)
    if dry:
        return verdicts
    done = []
    for verdict in verdicts:
        name, version = verdict.record.name, verdict.record.version
        if not verdict.goes:
            done.append(verdict)
            continue
        with stages.changing(registry.root / name) as standings:
            # Promoted, deployed or built upon meanwhile, or taken by another collection.
            still = {each.record.reference: each for each in _judged(registry, named(), policy, at)}
            last = still.get(verdict.record.reference)
            if last is not None and last.goes:
                registry.remove(name, version)
                standings.forget(version)
                done.append(last)
            elif last is not None:
                done.append(last)
    _sweep(registry)
    return done


def _judged(registry: Registry, named: Named, policy: Policy, now: datetime) -> list[Verdict]:
    records = list(registry.records())
    return judge(records, lambda record: registry.standing(record.name, record.version), named, policy, now)


def _alone(
    record: Record, standing: Standing, named: Named, policy: Policy, now: datetime, young: set[str]
) -> Verdict:
    since = max(record.created_at, standing.since) if standing.stage == "retired" else record.created_at
    if standing.stage == "promoted":
        return Verdict(record, False, "promoted")
    if record in named:
        return Verdict(record, False, "deployed, or the newest result of a run")
    if record.reference in young:
        return Verdict(record, False, f"among the newest {policy.keep}")
    if now - since < policy.settled:
        return Verdict(record, False, f"{standing.stage} for less than {_hours(policy.settled)}")
    return Verdict(record, True, f"{standing.stage} since {since:%Y-%m-%d}")


def _keep_ancestors(records: list[Record], verdicts: dict[str, Verdict]) -> None:
    """What a kept version was made of is kept."""
    pending = [verdict.record for verdict in verdicts.values() if not verdict.goes]
    while pending:
        record = pending.pop()
        for ancestor in _ancestors(record, records):
            if verdicts[ancestor.reference].goes:
                verdicts[ancestor.reference] = Verdict(ancestor, False, f"{record.reference} was made of it")
                pending.append(ancestor)


def _ancestors(record: Record, records: list[Record]) -> Iterator[Record]:
    base = record.base_model
    made_of = Named.in_texts([base.source, base.resolved, base.digest, *record.parents])
    return (each for each in records if each in made_of and each.reference != record.reference)


def _texts(folders: Iterable[Path], runs: Path) -> Iterator[str]:
    for folder in folders:
        named = ("objects/*.yaml", "brought/*.json", "adapters.json", "status.json")
        yield from _read(path for pattern in named for path in sorted(folder.glob(pattern)))
    yield from _read(
        path for name in ("register", "deploy", "finetune") for path in sorted(runs.glob(f"*/{name}.*"))
    )


def _read(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(
                f"{path} cannot be read ({error}), so what it uses is not known: nothing was removed.",
                "Unknown",
            ) from error


def _sweep(registry: Registry) -> None:
    """Remove what writers left that were killed."""
    scratch = registry.root / SCRATCH
    if not scratch.is_dir():
        return
    for folder in scratch.iterdir():
        if time.time() - folder.lstat().st_mtime > _ABANDONED_S:
            rmtree(folder, ignore_errors=True)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"
