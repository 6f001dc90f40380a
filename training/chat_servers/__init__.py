"""Chats with models: the client that streams answers, and the servers that it is given: ours, started on demand, or others."""
