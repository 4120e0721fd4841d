"""Where a version, a dataset or an answer came from, and what came of it: trees made from records."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slipway.training.data.versions import DatasetVersion
from slipway.training.data.versions import versions as dataset_versions
from slipway.training.errors import DataError, RegistryError
from slipway.training.registry.records import DatasetRecord, Record
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace

Kind = Literal["request", "version", "run", "evaluation", "dataset", "source", "base", "model"]
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_DEEPEST = 20
_METRICS = 4


@dataclass(slots=True)
class Node:
    """One thing, and what it came from, or what came of it."""

    kind: Kind
    name: str
    facts: dict[str, str] = field(default_factory=dict)
    """What is known of it, by name, in the order in which to show it."""
    children: "list[Node]" = field(default_factory=list)

    @property
    def brief(self) -> list[tuple[str, str]]:
        """Its facts with digests cut to what people compare."""
        return [(name, _DIGEST.sub(r"\1", value)) for name, value in self.facts.items() if value]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            **({"facts": self.facts} if self.facts else {}),
            **({"children": [each.document() for each in self.children]} if self.children else {}),
        }


@dataclass(frozen=True, slots=True)
class Lineage:
    """Asks a workspace."""

    workspace: Workspace

    @property
    def registry(self) -> Registry:
        """The workspace's versions."""
        return Registry.of(self.workspace)

    def of(self, subject: str) -> Node:
        """The tree of a version or a dataset, `NAME/VERSION` or `NAME`. Raises RegistryError, DataError."""
        name, slash, version = subject.partition("/")
        if slash and not _VERSION.fullmatch(version):
            return self.of_dataset(subject)
        if slash:
            return self.of_version(self.registry.record(name, version))
        if (served := self.served_as(name)) is not None:
            return self.of_version(served)
        try:
            return self.of_dataset(name)
        except DataError:
            known = ", ".join(self.registry.names()[:10]) or "none"
            raise RegistryError(
                f"{subject} is no version, adapter or dataset in {self.workspace.root}; there are versions"
                f" of: {known}.",
                "NotFound",
            ) from None

    def of_version(self, record: Record, depth: int = 0) -> Node:
        """What a version came from: its run, data, sources, evaluation, base model, parents."""
        node = self._version(record)
        run = Node("run", record.name, self._run_facts(record))
        node.children.append(run)
        if record.dataset is not None:
            run.children.append(self._dataset_of(record.dataset))
        run.children.append(self._evaluation(record))
        run.children.append(self._base(record, depth))
        for parent in record.parents:
            node.children.append(self._parent(parent, depth))
        return node

    def of_dataset(self, reference: str) -> Node:
        """A dataset's sources, and all versions that were made of it. Raises DataError if nobody knows it."""
        every = list(self.registry.records())
        try:
            found = DatasetVersion.open(self.workspace, reference)
        except DataError:
            told = [each for each in every if each.dataset and each.dataset.version == reference]
            if not told or told[0].dataset is None:
                raise
            node = self._dataset_of(told[0].dataset)
        else:
            reference = found.reference
            node = Node("dataset", reference, _dataset_facts(found))
            node.children = list(_sources_of(found))
        node.children += [
            self._version(each) for each in every if each.dataset and each.dataset.version == reference
        ]
        return node

    def of_request(self, usage: dict[str, Any], served: Iterable[dict[str, Any]] = ()) -> Node:
        """What answered a request.

        Args:
            usage: the gateway's record of it, as `/v1/requests/ID` tells it.
            served: adapters of services, with `engineName` or `name`, `source` and `digest`.
        """
        model, revision = (
            str(usage.get("served_model") or usage.get("model")),
            str(usage.get("revision") or ""),
        )
        node = Node(
            "request",
            str(usage["request_id"]),
            {
                "at": str(usage.get("started_at", "")),
                "model": model,
                "revision": revision or "unknown",
                "service": str(usage.get("service") or ""),
            },
        )
        record = self._answering(model, revision, list(served))
        if record is None:
            note = "its own model, or one that this registry does not know"
            node.children.append(Node("model", model, {"revision": revision or "unknown", "note": note}))
        else:
            node.children.append(self.of_version(record))
        return node

    def served_as(self, name: str) -> Record | None:
        """The version to be used under a served name: promoted, or the newest; None if there is none."""
        if name in self.registry.names():
            return self.registry.record(name, self.registry.newest(name))
        named = [each for each in self.registry.records() if _served(each) == name]
        return named[-1] if named else None

    def _answering(self, model: str, revision: str, served: list[dict[str, Any]]) -> Record | None:
        """Of the adapters that are or were served: by the digest, by the deployment, by the name."""
        for adapter in served:
            name = adapter.get("engineName")
            answered = name == revision if name else adapter.get("name") == model
            record = self._named(str(adapter.get("source")), str(adapter.get("digest"))) if answered else None
            if record is not None:
                return record
        for path in sorted(self.workspace.runs.glob("*/deploy.json")):
            deployed, registered = _result(path), _result(path.with_name("register.json"))
            if revision and deployed.get("engineName") == revision and registered:
                return self._record(str(registered.get("name")), str(registered.get("version")))
        name, dot, version = revision.rpartition(".")
        if dot and _VERSION.fullmatch(version):
            for record in self.registry.records():
                if record.version == version and name in (record.name, _served(record)):
                    return record
        return None

    def _named(self, source: str, digest: str) -> Record | None:
        place = source.partition("@")[0].rstrip("/")
        for record in self.registry.records():
            if record.digest == digest or place.endswith(f"/{record.reference}"):
                return record
        return None

    def _record(self, name: str, version: str) -> Record | None:
        try:
            return self.registry.record(name, version)
        except RegistryError:
            return None

    def _version(self, record: Record) -> Node:
        standing = self.registry.standing(record.name, record.version)
        return Node(
            "version",
            record.reference,
            {
                "stage": standing.stage,
                "kind": record.kind,
                "digest": record.digest,
                "registered": f"{record.created_at:%Y-%m-%d %H:%M}",
                "metrics": _metrics(record),
            },
        )

    def _run_facts(self, record: Record) -> dict[str, str]:
        code = record.code
        return {
            "method": record.method,
            "code": f"slipway {code.slipway}" + (f" at {code.commit}" if code.commit else ""),
            "hours": f"{record.energy.hours:.3g}",
        }

    def _evaluation(self, record: Record) -> Node:
        gates = record.evaluation.gates
        passed = sum(gate.passed for gate in gates)
        facts = {
            name: f"{value:.4g}" for name, value in record.evaluation.metrics.items() if value is not None
        }
        if gates:
            facts["gates"] = f"{passed} of {len(gates)} passed"
        if record.evaluation.report:
            facts["report"] = record.evaluation.report
        return Node("evaluation", f"of {record.reference}", facts)

    def _base(self, record: Record, depth: int) -> Node:
        base = record.base_model
        node = Node(
            "base", base.name, {"source": base.resolved or base.source, "digest": base.digest or "unknown"}
        )
        tuned = self._named(base.source, base.digest) if base.digest or "/" in base.source else None
        if tuned is not None and tuned.reference != record.reference and depth < _DEEPEST:
            node.children.append(self.of_version(tuned, depth + 1))
        return node

    def _parent(self, reference: str, depth: int) -> Node:
        name, _, version = reference.partition("/")
        record = self._record(name, version)
        if record is None or depth >= _DEEPEST:
            return Node("version", reference, {"note": "not in this registry"})
        return self.of_version(record, depth + 1)

    def _dataset_of(self, told: DatasetRecord) -> Node:
        """A dataset as a record tells of it, and whether it is still there as it was."""
        facts = {"digest": told.digest or "unknown", "rows": _rows(told.records)}
        here = [each for each in _versions(self.workspace) if each.reference == told.version]
        if not here:
            facts["note"] = "no longer in this workspace"
        elif told.digest and here[0].digest != told.digest:
            facts["note"] = f"what lies there now is {here[0].digest}"
        sources = [
            Node(
                "source",
                source.name,
                {"source": source.source, "digest": source.digest, "licence": source.licence or "unknown"},
            )
            for source in told.sources
        ]
        return Node("dataset", told.version, facts, sources)


def _versions(workspace: Workspace) -> list[DatasetVersion]:
    try:
        return dataset_versions(workspace)
    except DataError:
        return []


def _dataset_facts(found: DatasetVersion) -> dict[str, str]:
    manifest = found.manifest
    return {
        "digest": found.digest,
        "rows": _rows({name: part.rows for name, part in manifest.parts.items()}),
        "prepared": f"{manifest.created_at:%Y-%m-%d %H:%M}",
    }


def _sources_of(found: DatasetVersion) -> Iterator[Node]:
    for source in found.manifest.sources:
        facts = {"source": source.resolved or source.address, "digest": source.digest}
        yield Node("source", source.name, facts | {"kept": f"{source.kept} of {source.read}"})


def _served(record: Record) -> str:
    deploy = (record.fine_tune.get("spec") or {}).get("deploy") or {}
    return str(deploy.get("name") or record.name)


def _metrics(record: Record) -> str:
    known = [(name, value) for name, value in record.evaluation.metrics.items() if value is not None]
    return ", ".join(f"{name} {value:.4g}" for name, value in known[:_METRICS])


def _rows(records: dict[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in records.items())


def _result(path: Path) -> dict[str, Any]:
    try:
        outcome = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    result = (
        outcome.get("result") if isinstance(outcome, dict) and outcome.get("state") == "Succeeded" else None
    )
    return result if isinstance(result, dict) else {}
