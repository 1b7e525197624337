"""Composed scenes with known truth: objects, backgrounds, layouts. `uce benchmark` and the recipe of `mini` use them.

Nothing here knows of models or plugins. Begin with `composing.py`.
"""
