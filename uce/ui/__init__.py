"""`uce ui`: the app in the browser. Gradio draws it (`page`); everything else here is plain functions."""
