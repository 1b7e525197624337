"""The version of this package, read by everything below `uce/__init__.py`."""

__version__ = "0.1.0"
