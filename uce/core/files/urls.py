"""Files by URL, through fsspec: `file://`, `memory://`, and `s3://`, `gs://`, `https://` ... with their packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uce.core.errors import ConfigError, ImageError, UceError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")

MAX_BYTES = 1 << 30
"""A larger file is no picture or list that anybody means."""


def is_url(source: str) -> bool:
    """Whether fsspec is asked for it."""
    return _URL.match(source) is not None


def read_url(url: str) -> bytes:
    """The file's content.

    Raises:
        ImageError: it is missing, not readable, or too large.
        ConfigError: nobody here understands such URLs.
    """
    with _sentences(url), _filesystem(url)[0].open(_filesystem(url)[1], "rb") as file:
        data: bytes = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(f"{url} has more than {MAX_BYTES >> 30} GiB; give pictures and lists")
    return data


def find_urls(url: str) -> list[str]:
    """The files that a URL stands for, in order: those of a folder and below, those a pattern matches, or itself.

    Raises:
        ConfigError: nobody here understands such URLs, or nothing is there.
    """
    with _sentences(url):
        files, path = _filesystem(url)
        if any(letter in path for letter in "*?["):
            found = sorted(name for name in files.glob(path) if not files.isdir(name))
        elif files.isdir(path):
            found = sorted(files.find(path))
        else:
            found = [path] if files.exists(path) else []
        if not found:
            raise ConfigError(f"there is nothing at {url}; check the address")
        return [str(files.unstrip_protocol(name)) for name in found]


def _filesystem(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, path = url_to_fs(url)
    return files, path


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    """What fsspec and the storage behind it raise, as one sentence."""
    scheme = url.partition("://")[0]
    try:
        yield
    except UceError:
        raise
    except (ImportError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ConfigError(f"cannot read {scheme}:// addresses here: {cause}") from error
    except Exception as error:  # every storage has errors of its own
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ImageError(f"cannot read {url}: {cause}") from error
