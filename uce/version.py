"""The version of this package, read by everything below `uce/__init__.py`."""

__version__ = "0.1.0"

PLUGIN_API = 1
"""The version of what plugins may use (`uce.faces.PUBLIC` and the hooks). It rises when something in it goes away."""
