"""Many configurations on the same pictures, and what each is worth.

Nothing here runs a stage: every cell is a run of `uce.core.work`. Begin with `run.py`.
"""
