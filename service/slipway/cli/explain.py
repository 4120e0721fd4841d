"""`slipway explain`: what is wrong with a service; where the time of a request went, and why it failed."""

import re
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import click
from click.core import ParameterSource

from slipway.cli.client import gateway, url_options
from slipway.cli.findings import Finding, local_findings, shown
from slipway.cli.options import output_option, print_json, sentences
from slipway.cli.places import Cluster, Local, MissingError, Place, place_options

_REQUEST_ID = re.compile(r"req-[0-9a-f]{24}")
"""What gateways call requests to which the client gave no id of its own."""

_WIDTH = 40
"""Characters of the longest bar."""
_STAGES = (
    ("auth", "auth_ms", "the key"),
    ("limits", "limits_ms", "limits and budgets"),
    ("queue", "queue_ms", "waited for a free engine"),
    ("prefill", "prefill_ms", "engine: prompt read, first token made"),
    ("decode", "decode_ms", "engine: the other tokens"),
    ("engine", "engine_ms", "engine: the whole answer"),
)

# By error code: what was the matter, and the next command or step.
_CAUSES = {
    "client_left": ("The client closed the connection before the answer was complete.", None),
    "drain_timeout": ("The gateway was stopped, and the answer took longer than it waits.", None),
    "gateway_killed": (
        "The gateway was killed while the request ran. The tokens are what was reserved for it.",
        None,
    ),
    "model_not_ready": ("No engine of the model was ready.", "slipway status"),
    "engine_unreachable": ("No connection to any engine of the model could be made.", "slipway status"),
    "engine_closed": ("The engine went away before it answered.", "slipway status"),
    "engine_cut_off": ("The engine went away in the middle of its answer.", "slipway status"),
    "engine_failed": (
        "The engine answered with what cannot be used; the gateway's log has its words under the request id.",
        "slipway status",
    ),
    "engine_timeout": (
        "The engine did not answer in time; is it overloaded, or does it hang?",
        "slipway status",
    ),
    "overloaded": (
        "All engines were full, and so was the queue, or the wait became too long.",
        "slipway status",
    ),
    "rate_limit_exceeded": ("A limit of the key or its owner was reached.", "slipway key list"),
    "budget_exceeded": ("A budget of the key or its owner was spent.", "slipway usage --by key"),
    "limits_unavailable": ("Redis did not answer, and requests are not let through uncounted.", None),
    "usage_unavailable": ("The usage journal was full, and nothing unrecorded is served.", None),
    "model_not_found": ("There is no such model, or the key may not call it.", "slipway models"),
    "wrong_task": ("The model does not do what was asked of it.", "slipway models"),
    "internal_error": ("The gateway failed; its log has the cause under the request id.", None),
}


@click.command()
@click.argument("subject", metavar="SERVICE|REQUEST_ID")
@place_options
@url_options
@output_option
@sentences
def command(subject: str, place: Place, url: str | None, api_key: str | None, output: str) -> None:
    """Tell what is wrong with SERVICE, or where the time of the request REQUEST_ID went.

    Of a service: causes in the order in which to look at them, what was seen, and the next command to try.
    Of a request: its id is in the header `x-request-id` of every answer and in the gateway's log. With --url
    it is a request's id, and so is what looks like one (req-…), or is no service of the local run.

    \b
    Examples:
      slipway explain qwen3-0.6b
      slipway explain req-4f2a90c1b7e35d6680aa21cd
    """
    if _is_request(subject, place):
        _explain_request(subject, place, url, api_key, output)
        return
    try:
        _explain_service(subject, place, output)
    except MissingError:
        if url is None:
            raise
        _explain_request(subject, place, url, api_key, output)


def _is_request(subject: str, place: Place) -> bool:
    named = click.get_current_context().get_parameter_source("url") is ParameterSource.COMMANDLINE
    if named or _REQUEST_ID.fullmatch(subject):
        return True
    if isinstance(place, Cluster):
        return False
    from slipway.cli.local_runs import report

    return subject not in [service["name"] for service in report(place)["services"]]


def _explain_request(subject: str, place: Place, url: str | None, api_key: str | None, output: str) -> None:
    if isinstance(place, Cluster) and url is None:
        raise click.ClickException("A cluster's requests are told by its gateway: name it with --url.")
    state = place.state if isinstance(place, Local) else None
    found = gateway(state, url, api_key).get(f"/v1/requests/{quote(subject, safe='')}")
    if output == "json":
        print_json(found)
        return
    for record in (found, *found["earlier"]):
        click.echo(explanation(record))


def _explain_service(name: str, place: Place, output: str) -> None:
    title, found = _locally(name, place) if isinstance(place, Local) else _on_cluster(name, place)
    if output == "json":
        print_json([asdict(each) for each in found])
    else:
        click.echo("\n".join(shown(title, found)))


def _locally(name: str, place: Local) -> tuple[str, list[Finding]]:
    from slipway.cli.local_runs import ends_of_logs, service

    about = service(place, name)
    title = f"{name}: {about['state']}, {about['readyReplicas']} of {about['replicas']} replicas are ready"
    return title, local_findings(about, ends_of_logs(about))


def _on_cluster(name: str, place: Cluster) -> tuple[str, list[Finding]]:
    from slipway.cli.cluster.cases import read_case
    from slipway.cli.cluster.findings import findings
    from slipway.cli.cluster.sessions import on_cluster
    from slipway.cli.cluster.states import service_view

    case = on_cluster(place, lambda session: read_case(session, name))
    view = service_view(case.service, case.pods, case.now)
    return f"{view.label}: {view.state}, {view.ready} of {view.wanted} replicas are ready", findings(case)


def explanation(record: dict[str, Any]) -> str:
    """A record as text: what was asked, what came of it, a bar for each stage."""
    return "\n".join([*_head(record), "", *_bars(record["timings"]), "", *_end(record)])


def _head(record: dict[str, Any]) -> list[str]:
    what = "streamed" if record["stream"] else "whole answer"
    asked, served = record["model"], record["served_model"]
    model = asked if served in ("", asked, None) else f"{asked}, answered by {served}"
    lines = [
        f"{record['request_id']}  {record['route']}  {what}",
        f"  at       {record['started_at']}",
        f"  by       key {record['key']} of {record['owner']}, priority {record['priority']}",
        f"  model    {model}",
    ]
    if record["endpoint"]:
        tries = f", attempt {record['attempts']}" if record["attempts"] > 1 else ""
        lines.append(f"  engine   {record['endpoint']}, revision {record['revision'] or 'unknown'}{tries}")
    return lines


def _bars(timings: dict[str, Any]) -> list[str]:
    total = timings["total_ms"] or 0.0
    stages = [stage for stage in _STAGES if timings.get(stage[1]) is not None]
    if timings.get("prefill_ms") is not None:
        stages = [stage for stage in stages if stage[0] != "engine"]
    lines = []
    for name, field, words in stages:
        took = timings[field]
        bar = "█" * round(_WIDTH * took / total) if total else ""
        lines.append(f"  {name:8}{took:10.1f} ms  {bar or '▏':{_WIDTH}}  {words}".rstrip())
    return [*lines, f"  {'total':8}{total:10.1f} ms"]


def _end(record: dict[str, Any]) -> list[str]:
    counted = " (estimated)" if record["estimated"] else ""
    tokens = f"{record['prompt_tokens']} tokens in, {record['completion_tokens']} out{counted}"
    if record["cached_tokens"]:
        tokens += f", {record['cached_tokens']} of those in from the prefix cache"
    lines = [f"  {record['status']}, {tokens}, ${record['cost_usd']}"]
    code = record["error"]
    if code:
        why, step = _CAUSES.get(code, (f"The request was refused: `{code}`.", None))
        lines.append(f"  {code}: {why}")
        if step is not None:
            lines.append(f"  next: {step}")
        return lines
    timings = record["timings"]
    longest = max(
        (stage for stage in _STAGES if timings.get(stage[1])),
        key=lambda stage: timings[stage[1]],
        default=None,
    )
    if longest is not None and longest[0] == "queue":
        lines.append("  Most of the time went by waiting for a free engine: the model needs more replicas.")
    elif longest is not None and longest[0] == "prefill":
        lines.append(
            "  Most of the time went by reading the prompt: shorten it, or keep its beginning the same."
        )
    return lines
