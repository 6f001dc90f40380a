"""Rules in plain Python: nothing here knows of Django or of a database."""
