"""Exports of judgments: every format, from the tables or from a snapshot, written by PostgreSQL as JSON lines."""
