"""A server of one model: chat completions in OpenAI's format, streamed, by `python -m training.core.serve MODEL_FOLDER`."""
