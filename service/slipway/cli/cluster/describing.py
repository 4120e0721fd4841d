"""`slipway describe` on a cluster: a service with its rollout, scaling, pods and events as text. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.cli.cluster.findings import Case, told_at
from slipway.cli.cluster.progress import history_rows
from slipway.cli.cluster.states import service_view
from slipway.cli.options import columns
from slipway.cli.views import HEAD, age, because, tree

_MOST_EVENTS = 15


def described(case: Case) -> list[str]:
    """All that is known of the case's service, as lines."""
    now = datetime.fromtimestamp(case.now, UTC)
    view = service_view(case.service, case.pods, case.now)
    lines = [f"{name + ':':13} {value}" for name, value in _facts(case) if value]
    lines += ["", *columns(HEAD, tree([view], now))]
    if rows := history_rows(case.service):
        heads = ["NUMBER", "REVISION", "ROLE", "DEPLOYED", "OUTCOME", "REASON", "WHAT"]
        lines += ["", "History:", *_indented(columns(heads, rows))]
    if conditions := case.status.get("conditions"):
        rows = [
            [
                each["type"],
                each["status"],
                age(each.get("lastTransitionTime"), now),
                each["reason"],
                each["message"],
            ]
            for each in conditions
        ]
        lines += [
            "",
            "Conditions:",
            *_indented(columns(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows)),
        ]
    lines += ["", "Events:", *_events(case, now)]
    return lines


def _facts(case: Case) -> Iterator[tuple[str, str]]:
    metadata, spec, status = case.service["metadata"], case.service["spec"], case.status
    view = service_view(case.service, case.pods, case.now)
    rollout, scaling, fetch = (status.get(part) or {} for part in ("rollout", "scaling", "fetch"))
    why = because(view)
    yield "Name", metadata["name"]
    yield "Namespace", metadata["namespace"]
    yield "Model", f"{view.model} ({spec['model'].get('task', 'generate')})"
    yield "Source", spec["model"]["source"]
    yield "State", view.state + (f", {why}" if why else "")
    yield "Replicas", f"{view.ready} of {view.wanted} ready"
    yield "Engine", _engine(spec.get("engine") or {})
    strategy = (spec.get("rollout") or {}).get("strategy", "RollingUpdate")
    yield "Rollout", f"{strategy}, {rollout.get('phase', 'Idle')}: {rollout.get('message', '')}"
    yield (
        "Traffic",
        ", ".join(f"{each['revision']} {each['weight']}%" for each in status.get("traffic") or ()),
    )
    yield "Scaling", _joined(scaling, "reason", "message")
    yield "Cache", _joined(fetch, "phase", "message")
    adapters = ", ".join(f"{each['name']} ({each['source']})" for each in spec.get("adapters") or ())
    yield "Adapters", adapters


def _engine(engine: Mapping[str, Any]) -> str:
    parts = [
        engine.get("runtime", "vllm"),
        f"device {engine.get('device', 'auto')}",
        engine.get("image") or "",
    ]
    return ", ".join(part for part in (*parts, " ".join(engine.get("args") or ())) if part)


def _joined(part: Mapping[str, Any], *names: str) -> str:
    return ": ".join(str(part[name]) for name in names if part.get(name))


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _events(case: Case, now: datetime) -> list[str]:
    if not case.events:
        return ["  none that are kept"]
    rows = []
    for event in sorted(case.events, key=told_at)[-_MOST_EVENTS:]:
        about = event.get("regarding") or {}
        stamp = datetime.fromtimestamp(told_at(event), UTC).isoformat()
        of = f"{about.get('kind')}/{about.get('name')}"
        rows.append(
            [age(stamp, now), event.get("type"), event["reason"], of, " ".join(event.get("note", "").split())]
        )
    return _indented(columns(["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"], rows))
