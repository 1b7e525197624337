"""The orchestrator: one picture from its source to a finished run folder.

Everything below is put together here. Begin with `opening.py`, then `pipeline.py`, which calls the stages.
"""
