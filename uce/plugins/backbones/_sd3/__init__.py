"""What `stable_diffusion_3` has of its own: three text encoders side by side, and latents that the model packs itself."""
