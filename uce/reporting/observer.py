"""A report at the end of every run that went well."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from uce.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from uce.core.flow.events import RunFinished


class ReportWriter:
    """Writes report.html when a run is done. It never fails a run: what goes wrong is one line on stderr."""

    @hookimpl
    def uce_run_finished(self, event: RunFinished) -> None:
        if event.folder is None or event.status != "done":
            return
        try:
            from uce.reporting.page import write_report

            write_report(event.folder)
        except Exception as error:  # the tokens are learned and written: nothing here may cost them
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"uce: the run is done, but without report.html: {reason}; uce report tries again", file=sys.stderr)
