"""Gateways with keys in a database, and a real provider to sign in at."""

from integration.gateway.conftest import start_upstream as start_upstream
from integration.servers import own_postgres as own_postgres
from integration.servers import postgres as postgres
from integration.servers import postgres_server as postgres_server
from integration.usage.conftest import place as place
