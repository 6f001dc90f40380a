"""How many answers an item may have, and how many characters a text."""

from __future__ import annotations

MIN_RESPONSES, MAX_RESPONSES = 2, 9
"""Of an item whose answers are ordered. SQL packs its ranks into one digit each (`analytics.agreement`)."""

MAX_TEXT_CHARS = 100_000
"""A message of a prompt, an answer, the guidelines, the JSON of a draft."""
MAX_RATIONALE_CHARS = 10_000
MAX_REVIEW_NOTE_CHARS = 10_000
"""What a reviewer writes: the note of a verdict, the explanation of a known answer, the reason for retiring an item."""
MAX_SKIP_NOTE_CHARS = 2_000
MAX_REASON_CHARS = 300
"""The reason of a warning or a pause, which its annotator reads."""
MAX_TICKET_CHARS = 4_000
MAX_MESSAGE_CHARS = 2_000
MAX_MESSAGES_PER_HOUR = 60
"""What an annotator and the reviewers write to each other about an item, and how often each of them may."""
MAX_ITEMS_AHEAD = 20
MAX_BATCH_ITEMS = 5_000
"""Items that a lead assigns at once."""
MAX_CHAT_MESSAGE_CHARS = 16_000
MAX_CHAT_MESSAGES_PER_HOUR = 120
MAX_CHAT_TURNS = 300
"""With its branches."""
MAX_OPEN_CHATS = 20
"""Of one person in one project."""
MAX_ANSWER_STREAMS = 12
"""Answers of chats that one person reads along at once, in all pages and scripts, of one web process."""
