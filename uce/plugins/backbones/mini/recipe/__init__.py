"""How `mini` is made: objects, scenes, captions, tokenizer, VAE and diffusion training."""
