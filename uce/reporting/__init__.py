"""The page of a run, its plots, comparisons, and trackers that follow a run from outside.

Only reads and listens: nothing here changes a run. Begin with `report.py`.
"""
