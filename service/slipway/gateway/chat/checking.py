"""The fields of a request to an API that is translated, checked by its route's own table."""

from typing import Any

from slipway.gateway.errors import invalid_request
from slipway.gateway.parameters import check
from slipway.gateway.routes import Route


def checked(route: Route, body: dict[str, Any]) -> dict[str, Any]:
    """The fields that are given, null ones left out. Raises APIError for one that is wrong or missing."""
    check(route.table, body)
    for name in route.required:
        if body.get(name) is None:
            raise invalid_request(f"`{name}` is required.", name, "missing_required_parameter")
    return {name: value for name, value in body.items() if value is not None}
