"""The stages that a job passes: known, claim, route, front ends or nvcc alone, check, publish. Each hands it on.

A stage knows only what it hands jobs to: a stage that is nearer to the end, or a callable. The pipeline connects them.
"""
