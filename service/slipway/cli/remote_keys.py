"""`slipway key … --url`: keys in a gateway's database, with the rights of the key that asks for them."""

from typing import Any
from urllib.parse import quote

import click
from click.core import ParameterSource

from slipway.cli.client import Gateway
from slipway.cli.options import print_json, print_table

PAGE = 1000
_LIMITS = {
    "requests_per_minute": "requestsPerMinute",
    "tokens_per_minute": "tokensPerMinute",
    "tokens_per_day": "tokensPerDay",
    "max_parallel": "maxParallel",
}


def remote_options(command: Any) -> Any:
    """`--url`, which is never taken from the environment: it decides where a key is made; and `--api-key`."""
    for option in (
        click.option(
            "--api-key",
            envvar="SLIPWAY_API_KEY",
            show_envvar=True,
            help="With --url: the key that makes the change, or the token of a sign-in.",
        ),
        click.option("--url", help="Through this gateway's API, in place of the state folder."),
    ):
        command = option(command)
    return command


def create(gateway: Gateway, name: str, asked: dict[str, Any], output: str) -> None:
    """Make a key and print it; what was not asked for is as the gateway says, for a member as its own."""
    _print_once(gateway.send("POST", "/v1/keys", {"name": name, **fields(asked)}), output)


def rotate(gateway: Gateway, name: str, seconds: int, output: str) -> None:
    """Give a key a new secret and print it."""
    made = gateway.send("POST", f"{_path(name)}/rotate", {"graceSeconds": seconds})
    _print_once(made, output, f" The one before works until {made['previousUntil']}.")


def revoke(gateway: Gateway, name: str) -> None:
    """Revoke a key."""
    gone = gateway.send("DELETE", _path(name)).get("alsoDeleted") or []
    click.echo(f"Revoked {name}.")
    if gone:
        click.echo(f"With it went the keys that were made with it: {', '.join(gone)}.", err=True)


def show(gateway: Gateway, output: str) -> None:
    """List the keys that the key that asks may see."""
    keys: list[dict[str, Any]] = []
    after: list[tuple[str, str]] = []
    while True:
        page = gateway.get("/v1/keys", [("limit", str(PAGE)), *after])
        keys += page["data"]
        if not page["has_more"]:
            break
        after = [("after", page["last_id"])]
    if output == "json":
        print_json(keys)
        return
    head = ["NAME", "OWNER", "ROLE", "MODELS", "PRIORITY", "EXPIRES", "STATE", "MADE BY"]
    print_table(head, [_row(key) for key in keys])


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the current command's options that somebody has written."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def fields(asked: dict[str, Any]) -> dict[str, Any]:
    """Options of `slipway key create` as an APIKey's spec."""
    limits: dict[str, Any] = {_LIMITS[name]: value for name, value in asked.items() if name in _LIMITS}
    budget = {
        period: asked[f"budget_{period}"]
        for period in ("day", "week", "month")
        if f"budget_{period}" in asked
    }
    fields: dict[str, Any] = {
        name: asked[name] for name in ("owner", "role", "priority", "expiresAt") if name in asked
    }
    if "models" in asked:
        fields["models"] = list(asked["models"])
    if budget:
        limits["budgetUSD"] = budget
    return {**fields, "limits": limits} if limits else fields


def _row(key: dict[str, Any]) -> list[object]:
    made_by = "object" if key["declared"] else key["createdBy"]
    state = "disabled" if key["disabled"] else "active"
    shown = [key[name] for name in ("name", "owner", "role")]
    return [*shown, ",".join(key["models"]), key["priority"], key["expiresAt"] or "never", state, made_by]


def _path(name: str) -> str:
    return f"/v1/keys/{quote(name, safe='')}"


def _print_once(made: dict[str, Any], output: str, more: str = "") -> None:
    if output == "json":
        print_json(made)
    else:
        click.echo(made["key"])
        click.echo(f"Keep it: it is not shown again.{more}", err=True)
