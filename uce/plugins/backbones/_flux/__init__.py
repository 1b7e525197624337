"""What `flux` has of its own: packed latents, an embedded guidance, and CLIP as a summary beside the text of T5."""
