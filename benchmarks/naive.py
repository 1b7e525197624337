"""Our training against a plain rendition of the paper's code, the same updates in the same process, in turns.

    python benchmarks/naive.py                            # tiny-sd of the oracles, one thread and two
    python benchmarks/naive.py --threads 1 --rounds 3 --write
    python benchmarks/naive.py --model mini

The plain one (`naive_training.py`) does in every update what the paper's code does. It is a fair stand-in only while
one of its updates costs 8 to 10 bare UNet passes (forward and activation backward of one prompt, without any of
this), as the paper's code does: that ratio is printed beside. Both learn the same: the largest difference between
their tokens is printed, too.

K = 3 concepts, 15 split and 4 merged updates (the paper's order). Peak memory is that of a process that does one alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from measuring import machine, machine_line, markdown, peak_memory, run_child, shown, spread, write_results
from naive_training import K, NaiveTraining, S

from uce.core import Concepts, Context, TokenPlan
from uce.core.flow.picture import Picture, read_picture
from uce.core.registry.manager import load_manager
from uce.core.training.alignment import Alignment
from uce.core.training.loop import Training
from uce.core.training.objective import Draws, Objective
from uce.core.training.options import TrainingOptions
from uce.core.training.schedule import Schedule, Update
from uce.core.training.views import Views

TINY = Path(__file__).resolve().parents[2] / "shared" / "oracles" / "tiny-sd"
STEPS, MERGE_STEP = 2, 1


def scene(backbone: Any, num_splits: int = S) -> tuple[Picture, Concepts, TokenPlan]:
    """A picture, three masks with their maps, and starting vectors; the same every time."""
    generator = torch.Generator().manual_seed(0)
    side, cells = backbone.picture_side, backbone.latent_side
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    pixels = F.interpolate(coarse, size=(side, side), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().numpy()
    masks = torch.zeros(K, cells, cells, dtype=torch.bool)
    third = cells // 3
    for k in range(K):
        masks[k, k * third : (k + 1) * third, third // 2 : 2 * third] = True
    maps = masks.flatten(1).float() + 0.2 * torch.rand(K, cells**2, generator=generator) + 0.01
    concepts = Concepts(masks=masks, maps=maps / maps.sum(dim=1, keepdim=True), scores=torch.ones(K))
    table = backbone.embedding_table("clip")
    rows = table[torch.randperm(len(table), generator=generator)[: K * num_splits]].float().cpu()
    plan = TokenPlan(tuple(f"<asset{k}>" for k in range(K)), {"clip": rows.reshape(K, num_splits, -1)})
    return read_picture(pixels, side), concepts, plan


def draw(backbone: Any, context: Context, update: Update) -> Draws:
    """What our training draws for the same update."""
    side = backbone.latent_side
    latents = torch.zeros(2, backbone.latent_channels, side, side)
    return Objective(
        backbone, TrainingOptions(), Views(latents[None], torch.zeros(1, 2, K, side, side)), None, 1
    ).draws(context, update)


class Clock:
    """Wall and CPU seconds by name."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}
        self.restart()

    def restart(self) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def note(self, name: str) -> None:
        """What has passed belongs to `name`; the next begins."""
        self.wall.setdefault(name, []).append(time.perf_counter() - self.begun[0])
        self.cpu.setdefault(name, []).append(time.process_time() - self.begun[1])
        self.restart()


def bare_pass(backbone: Any) -> Callable[[], None]:
    """UNet forward and activation backward of one prompt."""
    generator = torch.Generator().manual_seed(1)
    side, channels = backbone.latent_side, backbone.latent_channels
    x_t = torch.randn(1, channels, side, side, generator=generator)
    width = backbone.unet.config.cross_attention_dim
    states = torch.randn(1, 77, width, generator=generator, requires_grad=True)

    def work() -> None:
        backbone.unet(x_t, torch.tensor([500]), encoder_hidden_states=states, return_dict=False)[0].mean().backward()
        states.grad = None

    return work


def paper_updates(quick: bool = False) -> list[Update]:
    """15 split and 4 merged updates; `quick`: only 4 merged ones."""
    steps, splits = (1, 1) if quick else (STEPS, S)
    return list(Schedule(steps, MERGE_STEP, K, splits, batched=False, groups=(tuple(range(K)),)).updates())


def compare(model: str, rounds: int, quick: bool) -> dict[str, Any]:
    """Our updates, naive ones and bare UNet passes in turns: seconds of each."""
    backbone = load_backbone(model)
    picture, concepts, plan = scene(backbone, 1 if quick else S)
    bare, clock, differences = bare_pass(backbone), Clock(), []
    options = TrainingOptions(steps=1 if quick else STEPS, merge_step=MERGE_STEP)
    updates = paper_updates(quick)
    bare()
    for number in range(rounds):
        naive = NaiveTraining(backbone, picture, concepts, plan)
        quiet = Context(seed=number, stage="optimizer")

        def others(event: Any, naive: NaiveTraining = naive, quiet: Context = quiet) -> None:
            clock.note("ours")
            update = updates[event.update - 1]
            draws = draw(backbone, quiet, update)
            clock.restart()
            naive.step(update, draws)
            clock.note("naive")
            bare()
            clock.note("bare")

        context = Context(seed=number, stage="optimizer", micro_batch=1, emit=others)
        clock.restart()
        training = Training(plan, concepts, backbone, picture, options, context, None, None, Alignment)
        clock.note("setup")
        learned = training.run()
        ours, theirs = learned.embeddings["clip"][:, 0], naive.vectors.detach()
        moved = (ours - plan.starts["clip"].mean(dim=1)).abs().max()
        differences.append(float((ours - theirs).abs().max() / moved))
    return {
        "threads": torch.get_num_threads(), "wall": clock.wall, "cpu": clock.cpu, "difference": max(differences),
        "updates": len(updates),
    }  # fmt: skip


def alone(model: str, part: str) -> dict[str, Any]:
    """Peak memory of a process in which one of the two does its updates; what is loaded is counted, too."""
    backbone = load_backbone(model)
    picture, concepts, plan = scene(backbone)
    loaded = peak_memory()
    context = Context(stage="optimizer", micro_batch=1)
    if part == "ours":
        options = TrainingOptions(steps=STEPS, merge_step=MERGE_STEP)
        Training(plan, concepts, backbone, picture, options, context, None, None, Alignment).run()
    else:
        naive = NaiveTraining(backbone, picture, concepts, plan)
        updates = paper_updates()
        for update in (*updates[:2], updates[-1]):  # all of them hold the same
            naive.step(update, draw(backbone, context, update))
    return {"loaded": loaded, "peak": peak_memory()}


def load_backbone(model: str) -> Any:
    return load_manager().pm.hook.uce_load_backbone(
        model=model, settings=SimpleNamespace(), device="cpu", precision="float32"
    )


def ratios(found: dict[str, Any], clock: str) -> dict[str, dict[str, float]]:
    """Update by update: naive over ours, naive over bare, ours over bare."""
    times = found[clock]
    pairs = {"naive / ours": ("naive", "ours"), "naive / bare": ("naive", "bare"), "ours / bare": ("ours", "bare")}
    return {
        name: spread([x / y for x, y in zip(times[above], times[below], strict=True)])
        for name, (above, below) in pairs.items()
    }


def report(document: dict[str, Any]) -> str:
    """The tables in Markdown."""
    rows = []
    for found, clock in [(found, clock) for found in document["threads"] for clock in ("wall", "cpu")]:
        each, times = ratios(found, clock), found[clock]
        seconds = [shown(spread(times[name])) for name in ("naive", "ours", "bare")]
        whole = sum(times["naive"]) / (sum(times["ours"]) + sum(times["setup"]))
        rows.append(
            [str(found["threads"]), clock, *seconds, *(shown(each[name]) for name in each), f"{whole:.2f}",
             f"{found['difference']:.1e}"]
        )  # fmt: skip
    head = [
        "threads", "clock", "naive, s", "ours, s", "bare, s", "naive / ours", "naive / bare", "ours / bare",
        "all updates with our setup", "tokens differ by",
    ]  # fmt: skip
    memory = document["memory"]
    naive, ours = memory["naive"]["peak"], memory["ours"]["peak"]
    table = markdown(
        ["peak memory", "naive, GB", "ours, GB", "ours / naive", "libraries and model, GB"],
        [["of the process", f"{naive:.2f}", f"{ours:.2f}", f"{ours / naive:.2f}", f"{memory['ours']['loaded']:.2f}"]],
    )
    count = document["threads"][0]["updates"]
    text = f"Seconds of each of {count} updates: median (lowest to highest); ratios are taken update by update."
    return f"{machine_line(document['machine'])}\n\n{text}\n\n{markdown(head, rows)}\n\n{table}"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(TINY), help="a Stable Diffusion folder, or mini")
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--rounds", type=int, default=1, help="how often the 19 updates are repeated")
    parser.add_argument("--quick", action="store_true", help="only 4 merged updates")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=["compare", "ours", "naive"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        found = (
            compare(given.model, given.rounds, given.quick)
            if given.child == "compare"
            else alone(given.model, given.child)
        )
        print(json.dumps(found))
        return
    document: dict[str, Any] = {"machine": machine(), "model": Path(given.model).name, "threads": []}
    own = ["--model", given.model, "--rounds", str(given.rounds), *(["--quick"] if given.quick else [])]
    for threads in given.threads or (1, 2):
        print(f"{threads} thread(s) ...", file=sys.stderr, flush=True)
        document["threads"].append(run_child(__file__, [*own, "--child", "compare"], threads))
    document["memory"] = {part: run_child(__file__, [*own, "--child", part], 1) for part in ("ours", "naive")}
    text = report(document)
    print(text)
    if given.json:
        given.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if given.write:
        write_results("naive", document, text)


if __name__ == "__main__":
    main()
