"""What `stable_diffusion_3` has of its own: the texts of three encoders, and latents that the model packs itself."""
