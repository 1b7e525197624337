"""Bytes on disk and how they are read: pictures, masks, tensors, documents, token files, data sets, URLs.

Every file is written whole or not at all (`writing.py`, begin there). Nothing here knows of stages, plugins or runs.
"""
