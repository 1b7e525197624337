"""Keeps the libraries' own progress bars and advice off the user's terminal while a model loads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence diffusers and transformers below errors, and put their settings back."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    modules = (diffusers_logging, transformers_logging)
    levels = [module.get_verbosity() for module in modules]
    bars = [module.is_progress_bar_enabled() for module in modules]
    try:
        for module in modules:
            module.set_verbosity(logging.ERROR)
            module.disable_progress_bar()
        yield
    finally:
        for module, level, bar in zip(modules, levels, bars, strict=True):
            module.set_verbosity(level)
            if bar:
                module.enable_progress_bar()
