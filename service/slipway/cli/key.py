"""`slipway key`: create, list, rotate, revoke."""

from typing import TYPE_CHECKING, Any

import click

from slipway.cli import remote_keys
from slipway.cli.client import Gateway, gateway
from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.places import Cluster, Local, Place, place_options
from slipway.cli.remote_keys import remote_options

if TYPE_CHECKING:
    from slipway.cli.cluster.keys import Made
    from slipway.objects import APIKey, Priority, Role


@click.group()
def command() -> None:
    """Create, list, rotate and delete API keys. A running gateway takes changes up within a second.

    Keys of the state folder, or the APIKeys of a cluster; with --url those of a gateway's database, with the
    rights of --api-key.
    """


@command.command()
@click.argument("name")
@place_options
@click.option("--owner", default="default", show_default=True, help="Person or team it belongs to.")
@click.option(
    "--role",
    type=click.Choice(["member", "admin"]),
    default="member",
    show_default=True,
    help="An admin may see and change all keys, owners and usage.",
)
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Who is served first when the engines are full.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("*",),
    metavar="GLOB",
    help="Models it may call; may be given more than once.  [default: *]",
)
@click.option(
    "--requests-per-minute", type=click.IntRange(min=1), metavar="N", help="Requests in any 60 seconds."
)
@click.option(
    "--tokens-per-minute", type=click.IntRange(min=1), metavar="N", help="Tokens in any 60 seconds."
)
@click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help="Requests at the same time.")
@click.option("--tokens-per-day", type=click.IntRange(min=1), metavar="N", help="Tokens in a day (UTC).")
@click.option("--budget-day", metavar="USD", help="US dollars in a day (UTC), by the models' prices: 2.50")
@click.option("--budget-week", metavar="USD", help="US dollars in a week from Monday.")
@click.option("--budget-month", metavar="USD", help="US dollars in a month.")
@click.option(
    "--expires-in", metavar="TIME", help="How long it works: 90m, 12h, 30d, 4w.  [default: for ever]"
)
@remote_options
@output_option
@sentences
def create(
    name: str,
    place: Place,
    url: str | None,
    api_key: str | None,
    expires_in: str | None,
    output: str,
    owner: str,
    role: "Role",
    priority: "Priority",
    models: tuple[str, ...],
    **limits: Any,
) -> None:
    """Create the key NAME and print it.

    The key is shown this once: only its hash is kept.

    \b
    Example:
      slipway key create ci --owner platform --model 'smol*' --expires-in 30d
    """
    if url is not None or isinstance(place, Cluster):
        asked = remote_keys.given(
            {"owner": owner, "role": role, "priority": priority, "models": models, **limits}
        )
        if expires_in is not None:
            asked["expiresAt"] = _end(expires_in)
    if url is not None:
        remote_keys.create(_gateway(place, url, api_key), name, asked, output)
        return
    if isinstance(place, Cluster):
        from slipway.cli.cluster import keys
        from slipway.cli.cluster.sessions import on_cluster

        spec = remote_keys.fields(asked)
        made = on_cluster(place, lambda session: keys.create_key(session, name, spec))
        _print_made(made, output, "It is also in its Secret.")
        return
    from slipway.local.keyrings import await_gateway, create_key

    folder = place.folder
    budget = {period: limits.pop(f"budget_{period}") for period in ("day", "week", "month")}
    every = {**limits, "budgetUSD": budget}
    key, plain = create_key(folder, name, expires_in, owner, models, every, role, priority)
    await_gateway(folder, plain)
    _print_once(key, plain, output)
    if output == "table":
        click.echo("Keep it: it is not shown again.", err=True)


@command.command()
@click.argument("name")
@place_options
@click.option(
    "--overlap",
    default="1d",
    show_default=True,
    metavar="TIME",
    help="How long the secret before it still works: 90m, 12h, 7d; 0 ends it at once.",
)
@remote_options
@output_option
@sentences
def rotate(name: str, place: Place, url: str | None, api_key: str | None, overlap: str, output: str) -> None:
    """Give the key NAME a new secret and print it; owner, limits and usage stay.

    \b
    Example:
      slipway key rotate ci --overlap 12h
    """
    if url is not None:
        remote_keys.rotate(_gateway(place, url, api_key), name, _seconds(overlap), output)
        return
    if isinstance(place, Cluster):
        from slipway.cli.cluster import keys
        from slipway.cli.cluster.sessions import on_cluster

        made = on_cluster(place, lambda session: keys.rotate_key(session, name, _seconds(overlap)))
        until = (made.key["status"]).get("previousExpiresAt")
        _print_made(made, output, f"The one before {f'works until {until}' if until else 'works no more'}.")
        return
    from slipway.local.keyrings import await_gateway, rotate_key

    folder = place.folder
    key, plain = rotate_key(folder, name, overlap)
    await_gateway(folder, plain)
    _print_once(key, plain, output)
    if output == "table":
        ended = key.status.previous_expires_at
        ends = f"works until {ended:%Y-%m-%d %H:%M} UTC" if ended is not None else "works no more"
        click.echo(f"Keep it: it is not shown again. The one before {ends}.", err=True)


def _gateway(place: Place, url: str, api_key: str | None) -> Gateway:
    """The gateway of `--url`; a run's own key goes to that run's gateway alone."""
    return gateway(place.state if isinstance(place, Local) else None, url, api_key)


def _print_made(made: "Made", output: str, more: str) -> None:
    """A key of a cluster, and on standard error where it was made."""
    if output == "json":
        print_json({**made.key, "key": made.plain})
        return
    click.echo(made.plain)
    metadata = made.key["metadata"]
    click.echo(f"APIKey {metadata['name']} in the namespace {metadata['namespace']}. {more}", err=True)


def _end(expires_in: str) -> str:
    """The time at which a length of time from now ends, as the API takes it."""
    from slipway.local.keys import expiry, utc_now

    try:
        return expiry(expires_in, utc_now()).isoformat()
    except ValueError as error:
        raise click.ClickException(f"{error}.") from None


def _seconds(overlap: str) -> int:
    from slipway.local.keys import expiry, utc_now

    now = utc_now()
    try:
        return 0 if overlap == "0" else int((expiry(overlap, now) - now).total_seconds())
    except ValueError as error:
        raise click.ClickException(f"{error}.") from None


def _print_once(key: "APIKey", plain: str, output: str) -> None:
    if output == "json":
        print_json({**key.model_dump(mode="json", by_alias=True, exclude_none=True), "key": plain})
    else:
        click.echo(plain)


@command.command(name="list")
@place_options
@remote_options
@output_option
@sentences
def list_(place: Place, url: str | None, api_key: str | None, output: str) -> None:
    """List the keys: owners, limits, state.

    The keys themselves are not kept.
    """
    if url is not None:
        remote_keys.show(_gateway(place, url, api_key), output)
        return
    if isinstance(place, Cluster):
        from slipway.cli.get import print_objects, read_objects

        print_objects("keys", read_objects(place, "keys", None), output)
        return
    from slipway.local.applying import read_keys
    from slipway.local.keyrings import state_of_key
    from slipway.local.keys import MANAGED_BY

    keys = list(read_keys(place.folder).values())
    if output == "json":
        print_json([key.model_dump(mode="json", by_alias=True, exclude_none=True) for key in keys])
        return
    if not keys:
        click.echo("No keys. `slipway key create NAME` makes one.")
        return
    rows = []
    for key in keys:
        limits = key.spec.limits
        shown = [
            *(limits.requests_per_minute, limits.tokens_per_minute, limits.tokens_per_day),
            limits.max_parallel,
        ]
        budget = limits.budget_usd.model_dump(exclude_none=True)
        budgets = [f"${amount}/{period}" for period, amount in budget.items()]
        rows.append(
            [
                *(key.metadata.name, key.spec.owner, key.spec.role, ",".join(key.spec.models)),
                *("-" if limit is None else limit for limit in shown),
                ",".join(budgets) or "-",
                key.spec.expires_at.strftime("%Y-%m-%d %H:%M") if key.spec.expires_at else "never",
                *(state_of_key(key), key.metadata.annotations.get(MANAGED_BY, "command")),
            ]
        )
    head = [
        "NAME",
        "OWNER",
        "ROLE",
        "MODELS",
        "REQ/MIN",
        "TOK/MIN",
        "TOK/DAY",
        "PARALLEL",
        "BUDGET",
        "EXPIRES",
    ]
    print_table([*head, "STATE", "FROM"], rows)


@command.command(name="delete")
@click.argument("name")
@place_options
@remote_options
@sentences
def revoke(name: str, place: Place, url: str | None, api_key: str | None) -> None:
    """Delete the key NAME: it is refused from now on, for good."""
    if url is not None:
        remote_keys.revoke(_gateway(place, url, api_key), name)
        return
    if isinstance(place, Cluster):
        from slipway.cli.cluster import keys
        from slipway.cli.cluster.sessions import on_cluster

        on_cluster(place, lambda session: keys.delete_key(session, name))
        click.echo(f"Revoked {name}.")
        return
    from slipway.local.keyrings import revoke_key

    from_file = revoke_key(place.folder, name)
    click.echo(f"Revoked {name}.")
    if from_file:
        click.echo(
            "It came from a file: remove it there too, or the next `slipway up` makes it anew.", err=True
        )


# What it is called in the gateway's console, and was called first.
command.add_command(revoke, "revoke")
