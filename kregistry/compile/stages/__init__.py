"""The stages of a job, from the plan to the store: each does one thing and hands the job on.

A stage knows only what it hands jobs to: a stage nearer to the end, or a callable. The pipeline connects them.
"""
