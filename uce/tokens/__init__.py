"""What one does with learned tokens: draw, edit, export, import, push, keep in a library.

Nothing here finds or learns. Begin with `drawing.py`.
"""
