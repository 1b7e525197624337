"""Many configurations on the same pictures, and what each is worth: the grid and its tables.

Working through it, folders and measures are `uce.many`'s. Begin with `run.py`.
"""
