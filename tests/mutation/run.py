"""Do the tests notice? Mistakes are made in a copy of the tree, one at a time, and the near tests are run.

    python tests/mutation/run.py --seed 1 --count 60
    python tests/mutation/run.py --seed 1 --count 20 --module core/training --module ui
    python tests/mutation/run.py --known             # those that once went unnoticed, from known.py

A line per mistake: caught, or survived; the share at the end. The working tree is never touched. Tests run in processes
forked from one that has imported torch and diffusers, one after the other, on one thread.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutation.known import KNOWN  # noqa: E402
from mutation.mistakes import Mistake, mistakes, sound  # noqa: E402
from mutation.near import near  # noqa: E402

MODULES = ("core", "plugins", "evaluation", "batching", "ablation", "ui")
MARKERS = "not slow and not gpu and not faults and not fuzz and not browser and not oracle"
WARM = (
    "torch", "diffusers.models.autoencoders.autoencoder_kl", "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip", "hypothesis", "sklearn.cluster", "scipy.stats", "scipy.ndimage",
)  # fmt: skip
HUNG = -1


@dataclass
class Tree:
    """A copy of the working tree, in which one file at a time is changed."""

    root: Path

    @classmethod
    def copied(cls, root: Path) -> Tree:
        """Of what git tracks here, and what it would."""
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.splitlines()  # fmt: skip
        for name in listed:
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        return cls(root)

    def noticed(self, module: Path, text: str, limit_s: float) -> tuple[str, float]:
        """What the near tests say to `text` in the place of a module: (verdict, seconds).

        "caught": a test fails that passes without the mistake; "survived"; "unclear": the test fails without it, too,
        or the tests do not end within `limit_s`, for which a busy machine may be the reason.
        """
        tests = near(self.root, module)
        path = self.root / module
        plain = path.read_text(encoding="utf-8")
        shutil.rmtree(self.root / ".pytest_cache", ignore_errors=True)
        try:
            self._write(path, text)
            code, seconds = tested(self.root, tests, limit_s)
        finally:
            self._write(path, plain)
        if code == 0:
            return "survived", seconds
        if code == HUNG:
            return "unclear", seconds
        again, more = tested(self.root, tests, limit_s, ["--last-failed", "--last-failed-no-failures=none"])
        return ("caught" if again == 0 else "unclear"), seconds + more

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # it goes by seconds and size, and both may be the same


def tested(root: Path, tests: Sequence[Path], limit_s: float, flags: Sequence[str] = ()) -> tuple[int, float]:
    """Run test files up to the first failure, in a process forked from this one: (exit code or `HUNG`, seconds)."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _test(root, [*flags, *map(str, tests)])
    while time.monotonic() - begun < limit_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), time.monotonic() - begun
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG, time.monotonic() - begun


def _test(root: Path, arguments: Sequence[str]) -> None:
    """In the child, which ends here."""
    code = 3
    try:
        os.setsid()
        with (root / "said.txt").open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(root)
        os.environ["PYTHONPATH"] = str(root)
        sys.path[:] = [str(root), *(path for path in sys.path if not path.startswith(str(ROOT)))]
        for name in [name for name in sys.modules if name.split(".")[0] in ("mutation", "uce")]:
            del sys.modules[name]
        import pytest

        flags = ["-x", "-q", "-o", "addopts=", "--import-mode=importlib", "-m", MARKERS]
        code = int(pytest.main([*flags, *arguments]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm() -> None:
    """Import what tests import and what takes long, and nothing of ours."""
    for name in WARM:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def chosen(names: Sequence[str], seed: int, count: int) -> list[tuple[Path, Mistake]]:
    """`count` mistakes of these rooms or files, each as likely as any other, in the order of the files."""
    offered: list[tuple[Path, Mistake]] = []
    for name in names:
        place = ROOT / "uce" / name
        paths = [place.with_suffix(".py")] if place.with_suffix(".py").is_file() else sorted(place.rglob("*.py"))
        if not paths:
            raise SystemExit(f"no such module: uce/{name}")
        for path in paths:
            text = path.read_text(encoding="utf-8")
            offered += [(path.relative_to(ROOT), mistake) for mistake in mistakes(text)]
    order = random.Random(seed).sample(range(len(offered)), len(offered))
    picked: list[int] = []
    for index in order:
        module, mistake = offered[index]
        if len(picked) < count and sound(mistake, (ROOT / module).read_text(encoding="utf-8")):
            picked.append(index)
    print(f"{len(picked)} of some {len(offered)} mistakes, seed {seed}", flush=True)
    return [offered[index] for index in sorted(picked)]


def known_cases(names: Sequence[str]) -> list[tuple[Path, str, str]]:
    """(module, changed text, what it says) of the known mistakes in these rooms or files; none named: of all."""
    cases = []
    for mistake in KNOWN:
        if names and not mistake.module.startswith(tuple(f"uce/{name}" for name in names)):
            continue
        text = (ROOT / mistake.module).read_text(encoding="utf-8")
        if text.count(mistake.before) != 1:
            raise SystemExit(f"known.py is stale: {mistake.module} does not hold once: {mistake.before}")
        cases.append((Path(mistake.module), text.replace(mistake.before, mistake.after), mistake.what))
    return cases


def sampled_cases(names: Sequence[str], seed: int, count: int) -> list[tuple[Path, str, str]]:
    """The same of mistakes drawn by chance."""
    cases = []
    for module, mistake in chosen(names, seed, count):
        text = (ROOT / module).read_text(encoding="utf-8")
        cases.append((module, mistake.made(text), f"line {mistake.line}, {mistake.shown(text)}"))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--module", action="append", help=f"a room or file below uce/; by default {', '.join(MODULES)}")
    parser.add_argument("--known", action="store_true", help="the listed mistakes instead of drawn ones")
    parser.add_argument("--limit", type=float, default=600, help="seconds that tests of one mistake may take")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    names = asked.module or []
    cases = known_cases(names) if asked.known else sampled_cases(names or MODULES, asked.seed, asked.count)
    warm()
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = Tree.copied(Path(folder) / "tree")
        for number, (module, text, what) in enumerate(cases, start=1):
            verdict, seconds = tree.noticed(module, text, asked.limit)
            verdicts[verdict] += 1
            print(f"{number:3} {verdict:8} {seconds:4.0f} s  {module}: {what}", flush=True)
    judged = max(verdicts["caught"] + verdicts["survived"], 1)
    unclear = f"; {verdicts['unclear']} unclear: too slow, or failing as it is" if verdicts["unclear"] else ""
    print(f"{verdicts['caught']} of {judged} caught ({verdicts['caught'] / judged:.0%}){unclear}")
    raise SystemExit(verdicts["survived"] > 0)


if __name__ == "__main__":
    main()
