"""What the gateway keeps: one SQL database, SQLite on one machine or PostgreSQL between several gateways."""
