"""Writes that span rows: keyword arguments, a named error, one transaction with its audit entry."""
