"""Models being taught: the runs, the rounds they form, and the programs that do the work."""
