"""The demo: a small language, simulated annotators with hidden preferences, and a lead, at work through the API."""
