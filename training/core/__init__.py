"""Training and sampling in pure torch and transformers: a program of its own, `python -m training.core JOB_DIR`."""
