"""The metadata that all tables register with; each part of the gateway declares its own tables beside itself.

Times are integers, microseconds since 1970; money is nano-dollars; both sum exactly in every database.
"""

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
