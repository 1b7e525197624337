"""What the speed benchmarks share: medians with their spread, peak memory, the machine, and tables in a page."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest; "all" is their sum."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "all": sum(values),
        "count": len(values),
    }


def shown(values: dict[str, float] | None, unit: str = "", digits: int = 2) -> str:
    """A spread as text: median (lowest to highest)."""
    if values is None:
        return ""
    text = f"{values['median']:.{digits}f}{unit}"
    if values["count"] > 1:
        text += f" ({values['low']:.{digits}f} to {values['high']:.{digits}f})"
    return text


def peak_memory() -> float:
    """Most memory that this process ever held, in GB (2**30)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def start_peak(device: str = "cpu") -> None:
    """Peaks count from here on (a Linux kernel lets a process reset its own; elsewhere they count from its start)."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_since(device: str = "cpu") -> float:
    """Most memory since `start_peak`, in GB (2**30)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found.group(1)) / 2**20 if found else peak_memory()


def machine(device: str = "cpu") -> dict[str, Any]:
    """Where figures come from."""
    import diffusers
    import torch
    import transformers

    import uce

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        name = found.group(1) if found else name
    facts: dict[str, Any] = {
        "date": date.today().isoformat(),
        "cpu": name,
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2),
        "uce": uce.__version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def machine_line(facts: dict[str, Any]) -> str:
    """The machine as one sentence."""
    parts = [facts.get("gpu", ""), f"{facts['cpu']}, {facts['cores']} cores, {facts['cpu_capability']}"]
    parts += [f"{name} {facts[name]}" for name in ("uce", "torch", "diffusers", "transformers")]
    return f"{facts['date']}; {'; '.join(part for part in parts if part)}; load {facts['load']} when it began."


def run_child(script: str | Path, arguments: Sequence[str], threads: int = 0) -> dict[str, Any]:
    """Run a benchmark in a process of its own, whose last line of output is a JSON object."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    done = subprocess.run(
        [sys.executable, str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_results(name: str, document: dict[str, Any], text: str) -> None:
    """Put `text` between the markers of `name` in README.md, and the numbers into results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    page = README.read_text(encoding="utf-8")
    begin, end = f"<!-- results: {name} -->", f"<!-- end: {name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"benchmarks/README.md lacks the lines '{begin}' and '{end}'")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    README.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
