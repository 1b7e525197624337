"""What people see in a terminal: progress, tables, one run, many runs, measures, plugins, tokens.

Nothing here computes. Begin with `runs.py`.
"""
