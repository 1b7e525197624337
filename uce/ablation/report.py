"""The tables of an ablation: CSV for programs, Markdown for notes, HTML with the overlays side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uce.ablation.folder import AblationFolder
from uce.ablation.page import render_page
from uce.ablation.table import count_lines, failure_lines, table_of
from uce.core.files.writing import write_text
from uce.many.measures import columns_of, counts_of, mean_of, measure_run
from uce.many.subjects import Subject
from uce.many.tables import csv_text, escaped, plural

MEAN = "(mean)"


def write_reports(folder: AblationFolder, document: dict[str, Any], subjects: Sequence[Subject]) -> None:
    """Measure every cell and write ablation.json, .csv, .md and .html."""
    for subject in subjects:
        truth = subject.truth
        for result in document["results"]:
            if result["picture"] == subject.name:
                run = folder.run(subject.name, result["cell"])
                result["measures"] = measure_run(run, result["stages"], truth, result.get("empty", False))
    document["means"] = [_mean(document, cell["name"]) for cell in document["cells"]]
    document["counts"] = counts_of(row for result in document["results"] for row in result["stages"])
    folder.write(document)
    write_text(folder / "ablation.csv", csv_of(document))
    write_text(folder / "ablation.md", markdown_of(document))
    write_text(folder / "ablation.html", render_page(folder, document, table_of(document), subjects))


def _mean(document: dict[str, Any], cell: str) -> dict[str, Any]:
    results = [result for result in document["results"] if result["cell"] == cell]
    failed = sum(result["status"] == "failed" for result in results)
    return {
        "cell": cell, "pictures": len(results), "failed": failed,
        "measures": mean_of(result["measures"] for result in results),
    }  # fmt: skip


def csv_of(document: dict[str, Any]) -> str:
    """One row per cell averaged over the pictures (picture "(mean)"), then one per cell and picture."""
    keys = [item["key"] for item in document["vary"]]
    columns = columns_of(result["measures"] for result in document["results"])
    values = {cell["name"]: cell["values"] for cell in document["cells"]}
    records: list[dict[str, Any]] = []
    for row in document["means"]:
        status = f"{row['failed']} of {row['pictures']} failed" if row["failed"] else "done"
        facts = {"cell": row["cell"], "picture": MEAN, "status": status}
        records.append(facts | values[row["cell"]] | row["measures"])
    for result in document["results"]:
        facts = {name: result.get(name, "") for name in ("cell", "picture", "status", "error", "folder")}
        facts["reused"] = "+".join(row["stage"] for row in result["stages"] if row.get("reused"))
        records.append(facts | values[result["cell"]] | result["measures"])
    return csv_text(records, ["cell", "picture", *keys, "status", *columns, "reused", "error", "folder"])


def markdown_of(document: dict[str, Any]) -> str:
    """The table of means, the counts and the failures."""
    pictures = ", ".join(picture["name"] for picture in document["pictures"])
    parts = [
        f"# Ablation\n\n{len(document['cells'])} cells on {plural(len(document['pictures']), 'picture')}: "
        f"{escaped(pictures)}.",
        table_of(document).markdown(),
        "\n".join(f"- {line}" for line in count_lines(document)),
    ]
    failures = failure_lines(document)
    if failures:
        parts.append("## Failed\n\n" + "\n".join(f"- {escaped(line)}" for line in failures))
    return "\n\n".join(part for part in parts if part) + "\n"
