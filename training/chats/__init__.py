"""Live chats on the side of the models: who answers, and their answers while they are written."""
