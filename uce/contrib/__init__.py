"""Other people's methods, re-implemented from their papers on the same hooks.

Each uses nothing that a third party could not. A new one is one file, one line here, one test in tests/contrib.
"""

BUILTINS = (
    "uce.contrib.break_a_scene:BreakASceneOptimizer",
    "uce.contrib.diffseg:DiffSegClusterer",
    "uce.contrib.random_masks:RandomMasksClusterer",
)
