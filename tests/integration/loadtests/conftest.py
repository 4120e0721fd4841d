"""The scripted engines and the gateway of the gateway's own tests."""

from integration.gateway.conftest import start, start_upstream

__all__ = ["start", "start_upstream"]
