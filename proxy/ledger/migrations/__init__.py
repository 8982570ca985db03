"""How the tables came to be, one file a step, applied by alembic when the ledger is opened."""
