"""Where `slipway usage` reads: the database itself on the machine it belongs to, or a gateway elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from slipway.cli.client import Gateway
from slipway.cli.receipts import Scrape

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_PATIENCE_S = 60.0
_MOST_ROWS = 10_000


class Books(Protocol):
    """Usage, and the receipt's numbers, in the shape of the gateway's API. Raise ClickException."""

    def usage(self, groups: Sequence[str], first: date, last: date) -> dict[str, Any]:
        """Rows parted by `groups`, and the total, of the days from `first` to `last`."""
        ...

    def receipt(self, first: date, scrapes: Sequence[Scrape]) -> dict[str, Any]:
        """The receipt's numbers since `first`, and what is recorded of the gateways that were scraped."""
        ...


@dataclass(frozen=True, slots=True)
class GatewayBooks:
    """Read through a gateway: what its key may see."""

    gateway: Gateway

    def usage(self, groups: Sequence[str], first: date, last: date) -> dict[str, Any]:
        """See Books.usage."""
        rows: list[dict[str, Any]] = []
        query = [("group_by", ",".join(groups)), ("start", first.isoformat()), ("end", last.isoformat())]
        while True:
            page = self.gateway.get("/v1/usage", [*query, ("offset", str(len(rows)))])
            rows += page["data"]
            if not page["has_more"]:
                return {**page, "data": rows}

    def receipt(self, first: date, scrapes: Sequence[Scrape]) -> dict[str, Any]:
        """See Books.receipt."""
        counted = [("gateway", f"{each.instance}:{each.closed}") for each in scrapes]
        answer: dict[str, Any] = self.gateway.get(
            "/v1/usage/receipt", [("start", first.isoformat()), *counted]
        )
        return answer


@dataclass(frozen=True, slots=True)
class DatabaseBooks:
    """Read from the database: everything."""

    engine: "Engine"

    @classmethod
    def of_state(cls, state: Path) -> "DatabaseBooks":
        """The database of the gateways that serve from a state folder."""
        from slipway.gateway.settings import GatewaySettings
        from slipway.gateway.storage.database import open_engine

        settings = GatewaySettings(state=state)
        if not settings.database_url and not (state / "gateway.db").exists():
            raise click.ClickException(
                f"No usage is recorded in {state}. Name another state folder with --state, or a gateway "
                "with --url."
            )
        return cls(open_engine(settings.database, _PATIENCE_S))

    def usage(self, groups: Sequence[str], first: date, last: date) -> dict[str, Any]:
        """See Books.usage."""
        from slipway.gateway.usage.reports import Filters, usage_by

        rows: list[dict[str, Any]] = []
        with self._reading() as connection:
            (total,) = usage_by(connection, (), Filters(), first, last, limit=1)
            while True:
                page = usage_by(
                    connection, groups, Filters(), first, last, limit=_MOST_ROWS, offset=len(rows)
                )
                rows += page
                if len(page) < _MOST_ROWS:
                    return {"data": rows, "total": total}

    def receipt(self, first: date, scrapes: Sequence[Scrape]) -> dict[str, Any]:
        """See Books.receipt."""
        from slipway.gateway.usage.receipts import Counted, receipt

        with self._reading() as connection:
            return receipt(connection, first, [Counted(each.instance, each.closed) for each in scrapes])

    @contextmanager
    def _reading(self) -> "Iterator[Connection]":
        from sqlalchemy.exc import SQLAlchemyError

        from slipway.gateway.storage.database import reading

        try:
            with reading(self.engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()
            raise click.ClickException(
                f"The database cannot be read: {reason[0] if reason else error}"
            ) from None
