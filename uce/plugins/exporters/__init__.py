"""Built-in exporters: one file per program that tokens go to."""
