"""Which concepts of several runs are the same thing: features inside masks, one-to-one pairs, a picture to confirm.

Nothing here learns, and no folder of a run is written. Begin with `match.py`.
"""
