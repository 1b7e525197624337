"""Methods compared over sets of pictures, with intervals and a page.

Runs are made by `uce.many`, measures come from there and from `uce.evaluation`. Begin with `benchmark.py`.
"""
