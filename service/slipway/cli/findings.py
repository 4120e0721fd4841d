"""What is wrong with a service: causes in the order in which to look at them, each with what to try next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_LINES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that explains why nothing answers."""

    reason: str
    """One CamelCase word."""
    cause: str
    """A sentence, with the mend where there is one."""
    evidence: tuple[str, ...] = ()
    """What was seen: states, events, log lines."""
    next: str = ""
    """The next command to try."""


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines of a log that are not empty."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-_MOST_LINES:]


def shown(title: str, findings: Iterable[Finding]) -> list[str]:
    """The findings as lines of text."""
    found = list(findings)
    if not found:
        return [f"{title}", "Nothing is wrong."]
    lines = [title]
    for number, finding in enumerate(found, 1):
        lines += ["", f"{number}. {finding.reason}: {finding.cause}"]
        lines += [f"     {each}" for each in finding.evidence]
        if finding.next:
            lines.append(f"   next: {finding.next}")
    return lines


def local_findings(service: Mapping[str, Any], logs: Mapping[str, str]) -> list[Finding]:
    """What a local run's status says of a service; `logs` has the ends of logs by replica."""
    name, found = service["name"], list[Finding]()
    for row in service["processes"]:
        evidence = (
            f"{row['name']}: {row['state']}, {row['restarts']} restarts",
            *last_lines(logs.get(row["name"], "")),
        )
        if row["state"] in ("Failed", "Waiting"):
            step = (
                "change the file, then `slipway up`" if row["state"] == "Failed" else f"slipway logs {name}"
            )
            found.append(Finding(row["reason"] or row["state"], row["message"], evidence, step))
        elif row["state"] == "Unready":
            cause = f"{row['name']} was ready, and does not answer its health probe now."
            found.append(Finding("ProbeFailed", cause, evidence, f"slipway logs {name} -f"))
        elif row["state"] == "Starting":
            cause = row["message"] or f"{row['name']} loads the model."
            found.append(Finding("Starting", cause, (), f"slipway rollout status {name}"))
    if not found and service["state"] not in ("Ready", "Stopping"):
        found.append(Finding(service["reason"], service["message"], (), f"slipway logs {name}"))
    if not found and service["replicas"] == 0:
        found.append(Finding("NoReplicas", "replicas is 0.", (), "raise it in the file, then `slipway up`"))
    return found
