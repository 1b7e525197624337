"""Many pictures, each exactly once: sources, names, index.

Nothing here runs a stage: executors do, by workers of `uce.core.work`. Begin with `batch.py`.
"""
