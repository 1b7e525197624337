"""What the driver of `uce batch` costs with very many pictures: seconds, memory and bytes, with nothing to work on.

    python benchmarks/batch_driver.py --pictures 20000 -o OUT

The batch is real but for its run folders, each of which holds the two files that the driver reads (`run.json` and
`concepts.json`, of a real run). So every picture is finished, and what is measured is the driver alone:

- `one`: the start of a batch of one finished picture, which the others' figures per picture leave out;
- `adopt`: a start that finds no index and writes a line per picture, as it does while a batch works;
- `again`: the same command again, which looks at every picture and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from uce.benchmarking.pictures import read_pictures


def run(sources: Path, out: Path) -> dict[str, Any]:
    """The command, in a process of its own: seconds, and the most memory that it held."""
    given = [sys.executable, "-m", "uce.cli", "batch", str(sources), "-o", str(out), "--localize-only", "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as written, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(given, env=environment, stdout=written, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        for file in (written, errors):
            file.seek(0)
        if status:
            raise SystemExit(errors.read()[-2000:])
        counts = json.loads(written.read())["counts"]
    cpu = used.ru_utime + used.ru_stime
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": used.ru_maxrss // 1024, "counts": counts}


def fill(out: Path, folder: Path, count: int) -> Path:
    """A list of so many pictures, of which all but the first are finished by copies of the first."""
    image = read_pictures("test").entries[0].path
    lines = [str(image)] + [str(folder / f"p{number}.png") for number in range(1, count)]
    (folder / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "first.txt").write_text(lines[0] + "\n", encoding="utf-8")
    print("first", json.dumps(run(folder / "first.txt", out)), flush=True)
    first = next((out / "runs").iterdir())
    files = {name: (first / name).read_bytes() for name in ("run.json", "concepts.json")}
    for number in range(1, count):
        copy = out / "runs" / f"p{number}"
        copy.mkdir(exist_ok=True)
        for name, data in files.items():
            (copy / name).write_bytes(data)
    return folder / "list.txt"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=20_000)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    out = asked.out / "batch"
    sources = fill(out, asked.out, asked.pictures)
    base = run(asked.out / "first.txt", out)
    print("one", json.dumps(base), flush=True)
    for name in ("adopt", "again"):
        row = run(sources, out)
        row["cpu_ms_per_picture"] = round(1000 * (row["cpu_s"] - base["cpu_s"]) / asked.pictures, 3)
        row["wall_ms_per_picture"] = round(1000 * (row["wall_s"] - base["wall_s"]) / asked.pictures, 3)
        row["kb_per_picture"] = round(1024 * (row["peak_mb"] - base["peak_mb"]) / asked.pictures, 2)
        print(name, json.dumps(row), flush=True)
    sizes = {path.name: path.stat().st_size // asked.pictures for path in sorted(out.iterdir()) if path.is_file()}
    print("bytes per picture", json.dumps(sizes))


if __name__ == "__main__":
    main()
