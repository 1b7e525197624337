"""Many runs of one question: a folder that knows what was asked, every entry finished once, numbers, tables.

What a grid varies, which methods compete and where pictures come from is for `ablation`, `benchmarking` and `batching`.
Begin with `engine.py`: every configuration on every picture, whatever becomes of the others.
"""
