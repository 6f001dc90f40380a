"""Policies compared with each other: by reward models and by people, prompt by prompt, and all of them in a leaderboard."""
