"""What holds for every exporter: it writes the tokens it is given into the folder it is given, and nothing else."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from uce.core.errors import UceError
from uce.core.runs.stored import StoredRun
from uce.core.runs.token_export import TokenExport
from uce.testing.run import tiny_run
from uce.testing.tries import Refused, judged, left_alone, require
from uce.tokens.exporting import chosen_tokens

Export = Callable[..., Any]


def check_exporter(export: Export, where: str) -> None:
    """Export tokens of tiny runs, with one text encoder and with two.

    Raises:
        ContractError: a rule is broken.
    """
    for name, encoders, vectors in (("", ("clip",), 1), (", two text encoders", ("clip_l", "clip_g"), 2)):
        with tempfile.TemporaryDirectory() as folder:
            run = tiny_run(Path(folder) / "run", encoders, vectors)
            try:
                _check(export, run, Path(folder), f"{where} (on a run of two tokens{name})", may_refuse=bool(name))
            except Refused:
                continue


def _check(export: Export, run: StoredRun, folder: Path, where: str, *, may_refuse: bool) -> None:
    tokens = chosen_tokens(run, None, None, None)
    before = contents(folder)

    def written(name: str, chosen: Sequence[TokenExport], seed: int = 1) -> dict[str, str]:
        out = folder / name
        out.mkdir()
        with judged(where, *([UceError] if may_refuse else [])):
            text = left_alone(lambda: export(run=run, tokens=chosen, out=out), [t.vectors for t in chosen], where, seed)
        require(
            isinstance(text, str) and bool(text.strip()),
            "how to use them",
            where,
            f"it returned {text!r}",
            "return a line that says how the files are used",
        )
        return contents(out)

    both = written("both", tokens)
    _check_files(folder / "both", both, where)
    again, first, second = (
        written("again", tokens, seed=2),
        written("first", tokens[:1]),
        written("second", tokens[1:]),
    )
    require(
        both == again, "same run, same bytes", where, "two exports of the same run differ", "write no times or folders"
    )
    require(
        set(first.values()) != set(second.values()) and both not in (first, second),
        "every token",
        where,
        "exports of one token, of another, and of both have the same bytes",
        "write each of `tokens`",
    )
    now = {name: value for name, value in contents(folder).items() if name.split("/")[0] == "run"}
    require(
        now == before,
        "the run stays as it is",
        where,
        "it changed files of the run",
        "write into `out` alone",
    )


def _check_files(out: Path, files: dict[str, str], where: str) -> None:
    require(bool(files), "some file", where, "it wrote no file", "write into `out`, a folder that is there already")
    for name in files:
        plain = not set(name) & set('<>:"|?*\\') and not (out / name).is_symlink()
        require(plain, "plain file names", where, f"it wrote {name!r}", "use token.stem, which fits Windows and shells")


def contents(folder: Path) -> dict[str, str]:
    """Path within `folder` -> hash of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
