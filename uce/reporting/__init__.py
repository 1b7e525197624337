"""Pages that show and explain runs. docs/report.md describes them. (`uce.report` is the function that writes one.)"""
