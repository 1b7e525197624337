"""Many pictures, each exactly once: sources, names, index.

Nothing here runs a stage: executors do, by workers of `uce.core.work`; the folder is `uce.many`'s. Begin with `run.py`.
"""
