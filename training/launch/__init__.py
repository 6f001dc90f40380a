"""Starting the training core for a run: as a child process of the worker, or as a job of a cluster's scheduler.

`local_job` and `scheduled_job` have one interface, that of `job.Job`. What runs on the nodes of a cluster (`node` and what it
imports) works without Django.
"""
