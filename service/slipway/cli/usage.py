"""`slipway usage`."""

import csv
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from slipway.cli.books import Books, DatabaseBooks, GatewayBooks
from slipway.cli.client import Gateway, gateway, url_options
from slipway.cli.options import print_json, print_table, sentences, state_folder, state_option
from slipway.cli.receipts import AMOUNTS, Line, Scrape, lines_of, read_metrics

GROUPS = ("day", "owner", "key", "model", "served_model", "revision", "operation")
SETTLE_S = 30.0
"""How long records may take from a gateway's journal into the database."""
_COLUMNS = {
    "requests": "REQUESTS",
    "failed": "FAILED",
    "prompt_tokens": "PROMPT",
    "cached_tokens": "CACHED",
    "completion_tokens": "COMPLETION",
    "cost_usd": "COST (USD)",
}


class Groups(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "groups"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip()))
        for name in names:
            if name not in GROUPS:
                self.fail(f"{name!r} is none of {', '.join(GROUPS)}.", param, ctx)
        return names


class Since(click.ParamType[date]):
    """`7d`, `4w` or a date."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        match = re.fullmatch(r"(\d{1,4})([dw])", str(value))
        if match is not None:
            days = int(match[1]) * (7 if match[2] == "w" else 1)
            return _today() - timedelta(days=max(days, 1) - 1)
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither like 7d or 4w nor a date like 2031-01-31.", param, ctx)


@click.command()
@click.option(
    "--by",
    "groups",
    type=Groups(),
    default="owner,model",
    show_default=True,
    metavar="NAME,…",
    help=f"What rows are parted by: {', '.join(GROUPS)}.",
)
@click.option(
    "--since",
    type=Since(),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Days to go back (7d, 4w; today is one of them), or the first day (2031-01-31). Days are UTC.",
)
@click.option("--verify", is_flag=True, help="Print the receipt instead: exit code 1 if any sum differs.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="URL",
    help="With --verify: a gateway to read metrics of; give it once for each replica behind one --url.",
)
@state_option
@url_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print.",
)
@sentences
def command(
    groups: tuple[str, ...],
    since: date,
    verify: bool,
    metrics: tuple[str, ...],
    state: Path | None,
    url: str | None,
    api_key: str | None,
    output: str,
) -> None:
    """Show what was used and what it cost.

    Reads the database of the state folder, or with --url asks a gateway: an admin's key sees all usage,
    another key that of its owner.

    --verify adds up the same usage by key, by owner, by day, record by record, and as Prometheus counts it,
    and compares the sums to the last token and billionth of a dollar.

    \b
    Example:
      slipway usage --by key,day --since 4w -o csv
      slipway usage --verify
    """
    books: Books
    if url is not None:
        books = GatewayBooks(gateway(state, url, api_key))
    else:
        books = DatabaseBooks.of_state(state_folder(state).root)
    if not verify:
        _print_usage(books.usage(groups, since, _today()), groups, output)
        return
    lines = _settled(books, since, _gateways(state, url, metrics))
    _print_receipt(lines, output)
    sys.exit(1 if any(line.fault for line in lines) else 0)


def _gateways(state: Path | None, url: str | None, metrics: Sequence[str]) -> list[Gateway]:
    """The gateways whose metrics are read; none if the state folder's own does not run."""
    if metrics:
        return [Gateway(each.removesuffix("/metrics").rstrip("/"), None) for each in metrics]
    try:
        return [Gateway(gateway(state, url, None).url, None)]
    except click.ClickException:
        return []


def _settled(books: Books, since: date, gateways: Sequence[Gateway]) -> list[Line]:
    """The receipt once all that the gateways had counted is recorded, or there was time enough for that."""
    scrapes: list[Scrape] = []
    for each in gateways:
        scrape = read_metrics(each.metrics())
        if scrape is None:
            raise click.ClickException(f"The gateway at {each.url} keeps no usage records.")
        scrapes.append(scrape)
    end = time.monotonic() + SETTLE_S
    said = False
    while True:
        receipt = books.receipt(since, scrapes)
        waiting = sum(each["waiting"] for each in receipt["gateways"])
        if not waiting or time.monotonic() > end:
            return lines_of(receipt, scrapes)
        if not said:
            click.echo(f"Settling: {waiting} records are on their way into the database …", err=True)
            said = True
        time.sleep(0.2)


def _print_usage(usage: dict[str, Any], groups: Sequence[str], output: str) -> None:
    rows, total = usage["data"], usage["total"]
    if output == "json":
        print_json({"data": rows, "total": total})
    elif output == "csv":
        _print_csv([*groups, *_COLUMNS], [[row[name] for name in (*groups, *_COLUMNS)] for row in rows])
    else:
        shown = [[row[name] for name in (*groups, *_COLUMNS)] for row in rows]
        if groups:
            shown.append(["TOTAL", *[""] * (len(groups) - 1), *(total[name] for name in _COLUMNS)])
        print_table([*(name.upper() for name in groups), *_COLUMNS.values()], shown)


def _print_receipt(lines: Sequence[Line], output: str) -> None:
    if output == "json":
        print_json(
            {
                "agrees": not any(line.fault for line in lines),
                "lines": [
                    {
                        "source": line.source,
                        **{name: line.amounts[name] for name in AMOUNTS},
                        "difference": line.fault,
                    }
                    for line in lines
                ],
            }
        )
        return
    rows = [[line.source, *(line.amounts[name] for name in AMOUNTS), _mark(line)] for line in lines]
    if output == "csv":
        _print_csv(["source", *AMOUNTS, "agrees"], rows)
    else:
        print_table(["SOURCE", *(_COLUMNS[name] for name in AMOUNTS), "AGREES"], rows)


def _mark(line: Line) -> str:
    if line.fault is not None:
        return f"✗ {line.fault}"
    return "" if line.baseline else "✓"


def _print_csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)


def _today() -> date:
    return datetime.now(UTC).date()
