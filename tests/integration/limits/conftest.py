"""Limits against a real Redis."""

from integration.redis_server import redis as redis
from integration.redis_server import shared_redis as shared_redis
