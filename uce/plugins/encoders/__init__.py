"""Built-in picture encoders."""
