"""What `stable_diffusion_xl` has that other Stable Diffusion models have not: two text encoders and size conditions."""
