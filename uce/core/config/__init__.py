"""From what people say to a configuration in which nothing is open: options, presets, files, devices.

No model is loaded here. Begin with `options.py`, the door; `resolving.py` puts the layers together.
"""
