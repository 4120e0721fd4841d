"""Alembic's environment: runs on the connection that `storage.database.migrate` hands in."""

from alembic import context

from slipway.gateway.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False
)
context.run_migrations()
