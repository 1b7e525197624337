"""How what ships inside the package was made. Not part of the wheel: used from a checkout."""
