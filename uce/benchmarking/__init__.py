"""Methods compared over sets of pictures, with intervals and a page.

Runs are made through `uce.api`, measures come from `uce.evaluation`. Begin with `benchmark.py`.
"""
