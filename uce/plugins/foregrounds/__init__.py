"""Built-in foreground steps: what of the picture clusterers are shown."""
