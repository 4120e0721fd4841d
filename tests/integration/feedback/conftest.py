"""Feedback is tested where usage is: a gateway process with its recorder."""

from integration.gateway.conftest import start_upstream as start_upstream
from integration.servers import own_postgres as own_postgres
from integration.usage.conftest import place as place
