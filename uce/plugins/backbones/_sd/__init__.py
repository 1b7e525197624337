"""How `stable_diffusion` loads models, reads prompts and draws."""
