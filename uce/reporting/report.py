"""`uce.report`: one page about a run, or about several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uce.core.config.keywords import public
from uce.core.errors import ConfigError
from uce.reporting.compare import write_compare
from uce.reporting.page import write_report


@public
def report(folders: str | Path | Sequence[str | Path], out: str | Path | None = None, *, compare: bool = False) -> Path:
    """Write one HTML page, without network or other files, that shows and explains a run, or compares several.

    Args:
        folders: a run folder; with `compare` several, or an ablation's folder.
        out: the page's file; None is report.html in the folder, or compare.html here.
        compare: one page about all of them.

    Returns:
        the page's file.

    Raises:
        UceError: a folder is no run's, there are not two runs to compare, or the page cannot be written.
    """
    given = [folders] if isinstance(folders, str | Path) else list(folders)
    if compare:
        return write_compare(given, "compare.html" if out is None else out)
    if len(given) != 1:
        raise ConfigError(f"a report is about one run, found {len(given)} folders; compare them with compare=True")
    return write_report(given[0], out)
