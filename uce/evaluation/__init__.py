"""The evaluation protocol: pictures of finished runs, encoders, scores.

Nothing here learns or localises. Begin with `evaluate.py`.
"""
