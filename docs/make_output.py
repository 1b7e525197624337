"""Run the examples of docs/ and write what they print below them.

A page holds blocks like this one; the command is run in order with all the others, in one folder that starts with
`examples/` alone, and what it prints is put between the fences:

    <!-- output: uce plugins show finch -->
    <!-- end -->

    python docs/make_output.py            runs everything (a few minutes on two cores) and rewrites the pages
    python docs/make_output.py --check    changes nothing; exit code 1 where a page says something else

Where outputs are compared, numbers count as equal and rows of concepts by their token alone: another processor may
round otherwise and learn a token whose nearest word is another. Words, files and their order must agree.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = ("quickstart.md", "cli.md")
BLOCK = re.compile(r"<!-- output: ([^\n]+) -->\n.*?<!-- end -->", re.DOTALL)
LONGEST = 14  # lines that are shown


def commands(text: str) -> list[str]:
    """The commands of a page's blocks."""
    return BLOCK.findall(text)


def run(command: str) -> str:
    """What a `uce` command prints in this folder, on stdout and stderr alike."""
    from uce.cli import main

    words = shlex.split(command)
    assert words[0] == "uce", command
    streams = io.StringIO()
    with contextlib.redirect_stdout(streams), contextlib.redirect_stderr(streams):
        try:
            main(words[1:])
        except SystemExit as ended:
            code = ended.code
    if code:
        raise RuntimeError(f"{command} ended with {code}: {streams.getvalue()}")
    return streams.getvalue()


def tidy(text: str, folder: Path) -> str:
    """Output as a page shows it: no folder of this machine, not too long."""
    lines = [line.rstrip() for line in text.replace(f"{folder}{os.sep}", "").strip("\n").splitlines()]
    lines = [line if len(line) <= 118 else f"{line[:115]}..." for line in lines]
    if len(lines) > LONGEST:
        lines = [*lines[: LONGEST - 2], f"... ({len(lines) - LONGEST + 1} lines more)", lines[-1]]
    return "\n".join(lines)


def block(command: str, output: str) -> str:
    return f"<!-- output: {command} -->\n\n```text\n$ {command}\n{output}\n```\n\n<!-- end -->"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder with the examples, where commands run alike everywhere."""
    before = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="uce-docs-") as name:
        folder = Path(name).resolve()
        shutil.copytree(DOCS.parent / "examples", folder / "examples")
        os.chdir(folder)
        os.environ |= {"UCE_LIBRARY": str(folder / "library"), "COLUMNS": "100", "NO_COLOR": "1"}
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # pages show a machine without one
        os.environ["UCE_DISABLE_PLUGINS"] = ",".join(_strangers())
        try:
            yield folder
        finally:
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])


def _strangers() -> list[str]:
    """Distributions whose plugins are installed here and are no part of the docs."""
    from importlib import metadata

    return sorted({entry.dist.name for entry in metadata.entry_points(group="uce") if entry.dist})


def rewritten(texts: dict[str, str]) -> dict[str, str]:
    """The pages with every block run anew."""
    with workplace() as folder:
        done = {}
        for name, text in texts.items():
            outputs = {}
            for command in commands(text):
                print(f"$ {command}", file=sys.stderr, flush=True)
                outputs[command] = block(command, tidy(run(command), folder))
            done[name] = BLOCK.sub(lambda found, made=outputs: made[found[1]], text)
        return done


def skeleton(text: str) -> str:
    """What must agree between two outputs."""
    text = re.sub(r"^(\s*\d+\s+)?(<[a-z0-9_-]+>)\s.*$", r"\2", text, flags=re.MULTILINE)
    text = re.sub(r"(<[a-z0-9_-]+>) \([^)]*\)", r"\1", re.sub(r"\+(cpu|cu\d+)\b", "", text))
    return re.sub(r" +", " ", re.sub(r"[0-9a-f]{12,}|-?\d+(?:\.\d+)*(?:e-?\d+)?", "#", text))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the examples of docs/ and write what they print.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page differs")
    check = parser.parse_args().check
    old = {name: (DOCS / name).read_text(encoding="utf-8") for name in PAGES}
    new = rewritten(old)
    stale = [
        name for name in PAGES if (skeleton(old[name]) != skeleton(new[name]) if check else old[name] != new[name])
    ]
    for name in stale:
        print(f"{'stale' if check else 'wrote'} docs/{name}")
        if check:
            import difflib

            lines = (skeleton(text[name]).splitlines() for text in (old, new))
            print("\n".join(difflib.unified_diff(*lines, "the page", "now", lineterm="", n=0)))
        else:
            (DOCS / name).write_text(new[name], encoding="utf-8")
    raise SystemExit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
