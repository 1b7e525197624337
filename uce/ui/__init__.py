"""`uce ui`: the app in the browser. Gradio draws it (`page`); everything else here is plain functions.

Nothing here finds or learns: it calls what `uce` offers. Begin with `app.py`.
"""
