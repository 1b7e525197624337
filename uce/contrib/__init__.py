"""Other people's methods, re-implemented from their papers on the same hooks, with nothing that a third party lacks.

A new one is one file, one line here, one test in tests/contrib.
"""

BUILTINS = (
    "uce.contrib.break_a_scene:BreakASceneOptimizer",
    "uce.contrib.diffseg:DiffSegClusterer",
)
