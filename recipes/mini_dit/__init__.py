"""How `mini-dit` is made: `mini`'s data, latents and words under a transformer of joint attention.

    python -m recipes.mini_dit --objects FOLDER --work FOLDER --minutes 12

`docs/transformers.md` says what it needs and what to expect. Shared with `mini` is all but model, loss and export.
"""
