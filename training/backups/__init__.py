"""Backups of the database and the store, consistent with each other, and restoring them."""
