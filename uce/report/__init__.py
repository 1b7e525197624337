"""The page that explains a run: what was found, why, what was learned. docs/report.md describes it."""

from uce.report.page import report_document, write_report

__all__ = ["report_document", "write_report"]
