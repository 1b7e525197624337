"""True masks: reading them, and scoring what was found against them.

Nothing here knows how the masks were found. Begin with `reading.py`.
"""
