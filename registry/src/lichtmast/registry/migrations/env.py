"""Runs the migrations on the connection that `lichtmast.registry.database` hands over, in its transaction."""

from alembic import context

from lichtmast.registry.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
