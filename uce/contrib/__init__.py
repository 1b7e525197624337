"""Other people's methods, re-implemented from their papers on the same hooks, with nothing that a third party lacks."""

BUILTINS = ("uce.contrib.break_a_scene:BreakASceneOptimizer",)
