"""Measurements: training beside TRL's own trainers, figures equal to theirs, and policies that learn what people like."""
