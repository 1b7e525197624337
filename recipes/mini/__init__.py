"""How `mini` is made: captions, tokenizer, VAE and diffusion training. Objects and scenes come from `uce.scenes`.

Begin with `train.py`; the model card (`uce/plugins/backbones/mini/MODEL_CARD.md`) has the commands.
"""
