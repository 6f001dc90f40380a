"""What people said, on its way out: in every format, live or from a snapshot, made by PostgreSQL and passed on as bytes."""
