"""Learning concept tokens against a frozen backbone: schedule, token rows, losses, alignment, the loop.

Optimizers call it; nothing here knows which. Begin with `loop.py`.
"""
