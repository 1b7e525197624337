"""uce: one picture in, masks and learned concept tokens out.

    import uce
    run = uce.run("picture.jpg", out="out", clusterer="hdbscan", seed=0)

Everything is imported when first used, so that `import uce` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "ablate": "uce.api",
    "batch": "uce.api",
    "run": "uce.api",
    "localize": "uce.api",
    "learn": "uce.api",
    "generate": "uce.api",
    "load": "uce.api",
    "model_path": "uce.api",
    "Run": "uce.core.run",
    "Concept": "uce.core.run",
    "hookimpl": "uce.core.hookspecs",
    "Settings": "uce.core.settings",
    "UceError": "uce.core.errors",
    "Ablation": "uce.ablation.result",
    "Batch": "uce.batching.result",
}

__all__ = [
    "Ablation",
    "Batch",
    "Concept",
    "Run",
    "Settings",
    "UceError",
    "__version__",
    "ablate",
    "batch",
    "generate",
    "hookimpl",
    "learn",
    "load",
    "localize",
    "model_path",
    "run",
]

if TYPE_CHECKING:
    from uce.ablation.result import Ablation
    from uce.api import ablate, batch, generate, learn, load, localize, model_path, run
    from uce.batching.result import Batch
    from uce.core.errors import UceError
    from uce.core.hookspecs import hookimpl
    from uce.core.run import Concept, Run
    from uce.core.settings import Settings


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "testing":
        return import_module("uce.testing")
    raise AttributeError(f"module 'uce' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
