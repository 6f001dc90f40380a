"""A world small enough to teach in minutes: a language, a hidden taste, and the settings that suit them."""
