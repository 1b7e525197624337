"""All that one benchmark leaves on disk.

DIR/benchmark.json  what was asked, what became of every run, the table
DIR/table.csv, table.md, pictures.csv, index.html
DIR/methods/        each method's configuration
DIR/runs/<method>/<picture>/   one run folder each
DIR/truth/          pictures for the page; DIR/pictures/ scenes that were composed for it
"""

from __future__ import annotations

from pathlib import Path

from uce.benchmarking.methods import Method
from uce.many.folder import ResultFolder


class BenchmarkFolder(ResultFolder):
    """Paths of one benchmark."""

    COMMAND, NOUN, DOCUMENT = "benchmark", "a benchmark", "benchmark.json"
    FILES = ("index.html", "table.md", "pictures.csv", "table.csv")
    OWNED = ("methods/*.yaml", "truth/*.png", "runs/*/*.failed.json")  # the last: of earlier versions
    RUNS = "*/*"

    def _is_ours(self, name: str) -> bool:
        """Others may keep notes beside it."""
        return self.begun or super()._is_ours(name)

    def config_path(self, method: Method) -> Path:
        return self.path / "methods" / f"{method.name}.yaml"
