"""Rounds of a loop: recipes and settings, the steps and gates of a round, and how it moves from state to state."""
