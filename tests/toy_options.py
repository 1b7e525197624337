"""Options for a run of tests/toy_plugin.py, and a picture for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uce.core.config.options import Options
from uce.testing import tiny_picture

TOY = str(Path(__file__).with_name("toy_plugin.py"))
PICTURE = tiny_picture().original


def toy_options(**given: Any) -> Options:
    """All that a run needs, and `given`; it finds two concepts."""
    stages = {"extractor": "toy", "clusterer": "toy", "refiner": "none", "device": "cpu"}
    return Options.of({"model": "toy", **stages, "plugin": TOY, **given})
