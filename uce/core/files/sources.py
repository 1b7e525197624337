"""A picture by path, URL or row of a data set."""

from __future__ import annotations

from uce.core.files.datasets import is_row, read_row
from uce.core.files.pictures import RgbArray, load_rgb, rgb_of_bytes
from uce.core.files.urls import is_url, read_url


def read_source(source: str) -> RgbArray:
    """A picture by path, URL or row of a data set, as `load_rgb`."""
    if is_row(source):
        return read_row(source)
    return rgb_of_bytes(read_url(source), source) if is_url(source) else load_rgb(source)
