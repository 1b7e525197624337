"""The tables of an ablation: CSV for programs, Markdown and LaTeX for papers, HTML with the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from uce.ablation.folder import AblationFolder
from uce.ablation.page import render_page
from uce.ablation.table import BEST_OF, about_lines, count_lines, failure_lines, tables_of
from uce.core.errors import UceError
from uce.core.files.writing import write_text
from uce.core.work.held import Run
from uce.evaluation.judging import Judging
from uce.many.likeness import bleed_of, likeness
from uce.many.measures import Measures, columns_of, contributions, counts_of, measure_run
from uce.many.statistics import Sums, estimate, paired, spread
from uce.many.subjects import Subject
from uce.many.tables import csv_text, escaped, plural

MEAN = "(mean)"


def write_reports(
    folder: AblationFolder,
    document: dict[str, Any],
    rows: Sequence[Mapping[str, Any]],
    subjects: Sequence[Subject],
    judging: Judging | None,
) -> None:
    """Measure every run and write ablation.json, .csv, .md, .tex and .html."""
    for subject in subjects:
        truth = subject.truth
        for result in document["results"]:
            if result["picture"] == subject.name:
                run = folder.run(subject.name, result["cell"])
                try:
                    result["measures"] = measure_run(run, result["stages"], truth, result.get("empty", False))
                except UceError as error:  # somebody damaged the folder
                    result |= {"measures": {}, "status": "failed", "error": str(error), "empty": False}
    if judging is not None:
        _judge(folder, document, judging)
    results = {(result["cell"], result["picture"]): result for result in document["results"]}
    base = next((row for row in rows if document["base"] in row["cells"]), rows[0])
    document["base"] = base["cell"]
    document["means"] = [_mean(row, base, results, [subject.name for subject in subjects]) for row in rows]
    document["counts"] = counts_of(row for result in document["results"] for row in result["stages"])
    folder.write(document)
    write_text(folder / "ablation.csv", csv_of(document))
    write_text(folder / "ablation.md", markdown_of(document))
    write_text(folder / "ablation.tex", latex_of(document))
    write_text(folder / "ablation.html", render_page(folder, document, subjects))


def _judge(folder: AblationFolder, document: dict[str, Any], judging: Judging) -> None:
    """Add what the tokens are worth, cell by cell: ACC is measured among the concepts of one cell."""
    for cell in document["cells"]:
        own = {
            result["picture"]: result
            for result in document["results"]
            if result["cell"] == cell["name"] and result["status"] == "done"
        }
        runs = {picture: Run(folder.run(picture, cell["name"])) for picture in own}
        seen = {picture: judging.see(run) for picture, run in runs.items()}
        for encoder in judging.encoders:
            features = {picture: one[encoder] for picture, one in seen.items()}
            for picture, found in likeness(features).items():
                own[picture]["measures"] |= found
                own[picture]["bleed"] = bleed_of(features[picture])
    document["notes"] = list(dict.fromkeys([*document["notes"], *judging.notes]))


def _mean(
    row: Mapping[str, Any],
    base: Mapping[str, Any],
    results: Mapping[tuple[str, str], Mapping[str, Any]],
    pictures: Sequence[str],
) -> dict[str, Any]:
    """One row: means over its runs, their spread, and how far they lie from the base row's."""

    def own(which: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
        return {p: [results[cell, p] for cell in which["cells"] if (cell, p) in results] for p in pictures}

    mine, theirs = own(row), own(base)
    runs = [result for found in mine.values() for result in found]
    measures: dict[str, float] = {}
    spreads, differences = {}, {}
    for name in columns_of(result["measures"] for result in runs):
        having = [result["measures"] for result in runs if name in result["measures"]]
        found = estimate(*contributions(name, having))
        assert found is not None
        measures[name] = found.mean
        if (wide := spread([values[name] for values in having])) is not None:
            spreads[name] = wide
        scored = row is not base and name in BEST_OF
        if scored and (difference := paired(_sums(name, mine), _sums(name, theirs))) is not None:
            differences[name] = {**asdict(difference), "sign": difference.sign}
    failed = sum(result["status"] == "failed" for result in runs)
    return {
        **row, "pictures": len([found for found in mine.values() if found]), "runs": len(runs), "failed": failed,
        "n": sum("concepts" in result["measures"] for result in runs),
        "measures": measures, "spread": spreads, "difference": differences,
    }  # fmt: skip


def _sums(name: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sums:
    """What each picture contributes, its seeds together, as they are not independent; of one picture, each seed."""
    units: dict[Any, list[Measures]] = {picture: [one["measures"] for one in found] for picture, found in runs.items()}
    if len(units) == 1:
        units = {number: [one["measures"]] for found in runs.values() for number, one in enumerate(found)}
    sums = {unit: contributions(name, found) for unit, found in units.items()}
    return {unit: (sum(totals), sum(counts)) for unit, (totals, counts) in sums.items()}


def csv_of(document: dict[str, Any]) -> str:
    """One line per row of the table (picture "(mean)"), then one per cell and picture."""
    keys = [item["key"] for item in document["vary"]]
    columns = columns_of(result["measures"] for result in document["results"])
    ends = ("", "_sd", "_difference", "_low", "_high")
    scored = {name for row in document["means"] for name in row["difference"]}
    names = [name + end for name in columns for end in ends if not end or end == "_sd" or name in scored]
    values = {cell["name"]: cell["values"] for cell in document["cells"]}
    records: list[dict[str, Any]] = []
    for row in document["means"]:
        status = f"{row['failed']} of {row['runs']} failed" if row["failed"] else "done"
        facts = {"cell": row["cell"], "picture": MEAN, "status": status, "settings": row["settings"], "n": row["n"]}
        numbers: dict[str, Any] = {**row["measures"], **{f"{k}_sd": v for k, v in row["spread"].items()}}
        for name, found in row["difference"].items():
            numbers |= {f"{name}_difference": found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        records.append({**facts, **row["values"], **numbers})
    for result in document["results"]:
        facts = {name: result.get(name, "") for name in ("cell", "picture", "status", "error", "folder")}
        facts["reused"] = "+".join(row["stage"] for row in result["stages"] if row.get("reused"))
        records.append({**facts, **values[result["cell"]], **result["measures"]})
    heads = ["cell", "picture", *keys, "settings", "status", "n", *names, "reused", "error", "folder"]
    return csv_text(records, heads)


def markdown_of(document: dict[str, Any]) -> str:
    """The tables, what they show, the counts and the failures."""
    pictures = ", ".join(picture["name"] for picture in document["pictures"])
    parts = [
        f"# Ablation\n\n{plural(len(document['means']), 'configuration')} on "
        f"{plural(len(document['pictures']), 'picture')}: {escaped(pictures)}.",
        " ".join(escaped(line) for line in about_lines(document)),
    ]
    parts += [f"{title}:\n\n{table.markdown()}" for title, table in tables_of(document)]
    parts.append("\n".join(f"- {line}" for line in count_lines(document)))
    failures = failure_lines(document)
    if failures:
        parts.append("## Failed\n\n" + "\n".join(f"- {escaped(line)}" for line in failures))
    return "\n\n".join(part for part in parts if part) + "\n"


def latex_of(document: dict[str, Any]) -> str:
    """The tables for a paper, with what they show as comments; they need no package."""
    about = "\n".join(f"% {line}" for line in about_lines(document))
    return "\n\n".join([about, *(f"% {title}\n{table.latex()}" for title, table in tables_of(document))]) + "\n"
