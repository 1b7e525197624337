"""A run on disk: its folder, documents, names of tokens, and how it is read and shown later.

Nothing here computes a stage or loads a model. Begin with `folder.py` (writing) and `stored.py` (reading).
"""
