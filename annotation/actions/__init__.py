"""Every write that spans rows. Each takes keyword arguments, raises a named error, returns what it made."""
