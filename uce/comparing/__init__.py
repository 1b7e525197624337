"""Which preset suits a model: both tried on photographs.

Nothing here localises or learns: it calls `uce.api`. Begin with `compare.py`.
"""
