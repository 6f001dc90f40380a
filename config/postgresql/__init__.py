"""Django's backend for PostgreSQL, with the settings of our connections."""
