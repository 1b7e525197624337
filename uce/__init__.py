"""uce: one picture in, masks and learned concept tokens out.

    import uce
    run = uce.run("picture.jpg", out="out", clusterer="hdbscan", seed=0)

Everything is imported when first used, so that `import uce` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from uce.version import PLUGIN_API, __version__
from uce.waiting import wait_quietly

wait_quietly()

_HOMES = {
    "ablate": "uce.ablation.ablate",
    "batch": "uce.batching.batch",
    "run": "uce.api",
    "localize": "uce.api",
    "learn": "uce.api",
    "generate": "uce.api",
    "export": "uce.api",
    "import_tokens": "uce.api",
    "push": "uce.api",
    "Library": "uce.tokens.library",
    "load": "uce.api",
    "match": "uce.matching.match",
    "Matches": "uce.matching.match",
    "draw": "uce.tokens.drawing",
    "evaluate": "uce.evaluation.evaluate",
    "benchmark": "uce.benchmarking.benchmark",
    "model_path": "uce.api",
    "report": "uce.reporting.report",
    "Run": "uce.core.work.held",
    "Concept": "uce.core.work.held",
    "hookimpl": "uce.core.hookspecs",
    "Settings": "uce.core.flow.settings",
    "UceError": "uce.core.errors",
    "Ablation": "uce.ablation.result",
    "Batch": "uce.batching.result",
}

__all__ = [
    "PLUGIN_API",
    "Ablation",
    "Batch",
    "Concept",
    "Library",
    "Matches",
    "Run",
    "Settings",
    "UceError",
    "__version__",
    "ablate",
    "batch",
    "benchmark",
    "draw",
    "evaluate",
    "export",
    "generate",
    "hookimpl",
    "import_tokens",
    "learn",
    "load",
    "localize",
    "match",
    "model_path",
    "push",
    "report",
    "run",
]

if TYPE_CHECKING:
    from uce.ablation.ablate import ablate
    from uce.ablation.result import Ablation
    from uce.api import export, generate, import_tokens, learn, load, localize, model_path, push, run
    from uce.batching.batch import batch
    from uce.batching.result import Batch
    from uce.benchmarking.benchmark import benchmark
    from uce.core.errors import UceError
    from uce.core.flow.settings import Settings
    from uce.core.hookspecs import hookimpl
    from uce.core.work.held import Concept, Run
    from uce.evaluation.evaluate import evaluate
    from uce.matching.match import Matches, match
    from uce.reporting.report import report
    from uce.tokens.drawing import draw
    from uce.tokens.library import Library


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "testing":
        return import_module("uce.testing")
    raise AttributeError(f"module 'uce' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
