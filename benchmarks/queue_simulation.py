"""A simulation of the pull queue of `uce batch`: 1 to 1,000 workers, measured service times, workers that fail.

    python benchmarks/queue_simulation.py OUT/local/batch.jsonl --plot docs/images/queue.png --json queue.json

Service times are drawn from the `seconds` of a batch's index (or given: `--seconds 20,25,31`). Each worker takes the
next picture when it is done with one, as the executors do. A worker dies after an exponential time (`--mtbf` hours of
work); its picture is begun again by its replacement, which first loads the model (`--start` seconds). The driver writes
each picture down (`--driver` seconds), one after the other: with enough workers they wait for it. Everything else is
free.

Measured per number of workers: hours, pictures per hour, the share of the workers' time that went into pictures, what
was done again, and, for comparison, *pushing*: the pictures dealt out evenly before the start.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import simpy


@dataclass(frozen=True)
class Facts:
    """What is simulated.

    Attributes:
        seconds: service times to draw from.
        pictures: how many there are.
        start: seconds until a worker is ready, at the beginning and after a death.
        driver: seconds of the driver per picture, during which no other picture is written down.
        mtbf: mean seconds of work between two deaths of a worker; 0: they never die.
    """

    seconds: Sequence[float]
    pictures: int
    start: float
    driver: float
    mtbf: float


@dataclass(frozen=True)
class Result:
    """How a simulated batch went. `busy`: share of the workers' time in pictures that counted. `lost_s`: work thrown
    away. `pushed_hours`: the same pictures dealt out evenly before the start, without failures."""

    workers: int
    hours: float
    per_hour: float
    busy: float
    deaths: int
    lost_s: float
    pushed_hours: float


def simulate(facts: Facts, workers: int, seed: int = 0) -> Result:
    """One batch, to the last picture."""
    chance = random.Random(seed)
    times = [chance.choice(facts.seconds) for _ in range(facts.pictures)]
    env = simpy.Environment()
    driver = simpy.Resource(env, capacity=1)
    waiting = iter(times)
    totals = {"deaths": 0, "lost": 0.0}

    def work() -> simpy.events.ProcessGenerator:
        yield env.timeout(facts.start)
        for service in waiting:  # pulling: whoever is free takes the next
            while facts.mtbf and (life := chance.expovariate(1 / facts.mtbf)) < service:
                totals["deaths"] += 1
                totals["lost"] += life
                yield env.timeout(life + facts.start)
            yield env.timeout(service)
            with driver.request() as turn:
                yield turn
                yield env.timeout(facts.driver)

    for _ in range(workers):
        env.process(work())
    env.run()
    return Result(
        workers=workers,
        hours=env.now / 3600,
        per_hour=3600 * facts.pictures / env.now,
        busy=sum(times) / (workers * env.now),
        deaths=int(totals["deaths"]),
        lost_s=totals["lost"],
        pushed_hours=pushed(times, workers, facts.start) / 3600,
    )


def pushed(times: Sequence[float], workers: int, start: float) -> float:
    """Seconds until the last worker is done where worker i is given pictures i, i + W, i + 2 W, ... at the start."""
    return start + max(sum(times[i::workers]) for i in range(min(workers, len(times))))


def shortest(times: Sequence[float], workers: int) -> float:
    """Seconds of pulling without start, driver or deaths: what `simulate` must agree with."""
    free = [0.0] * workers
    for service in times:
        heapq.heapreplace(free, free[0] + service)
    return max(free)


def plot(path: Path, cases: dict[str, list[Result]], facts: Facts) -> None:
    """Pictures per hour and the share of time in pictures, over the number of workers."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for (name, results), style in zip(cases.items(), ("-o", "--s", ":^", "-.d"), strict=False):
        workers = [result.workers for result in results]
        left.plot(workers, [result.per_hour for result in results], style, markersize=4, label=name)
        right.plot(workers, [100 * result.busy for result in results], style, markersize=4, label=name)
    some = next(iter(cases.values()))
    mean = sum(facts.seconds) / len(facts.seconds)
    ideal = [3600 / mean * result.workers for result in some]
    left.plot([result.workers for result in some], ideal, color="0.7", zorder=0, label="no losses at all")
    left.set(xscale="log", yscale="log", xlabel="workers", ylabel="pictures per hour")
    right.set(xscale="log", xlabel="workers", ylabel="share of workers' time in pictures, %", ylim=(0, 104))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(fontsize=9)
    figure.suptitle(f"{facts.pictures:,} pictures of {mean:.0f} s each on average", fontsize=11)
    figure.savefig(path, dpi=110)


def read_seconds(asked: argparse.Namespace) -> list[float]:
    """Service times that were given, or those of a batch's finished pictures."""
    if asked.seconds:
        return [float(text) for text in asked.seconds.split(",")]
    rows = [json.loads(line) for line in asked.index.read_text(encoding="utf-8").splitlines()]
    return [row["seconds"] for row in rows if row["status"] != "failed" and row["seconds"] > 0]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, nargs="?", help="batch.jsonl of a batch that was run")
    parser.add_argument("--seconds", help="service times instead of an index")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", default="1,3,10,30,100,300,1000")
    parser.add_argument("--start", type=float, default=20)
    parser.add_argument("--driver", type=float, default=0.01)
    parser.add_argument("--mtbf", type=float, default=6, help="hours of work between two deaths of a worker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if (asked.index is None) == (asked.seconds is None):
        parser.error("give an index, or --seconds")
    return asked


def main() -> None:
    """Parse the command line, simulate, print."""
    asked = parse()
    seconds = read_seconds(asked)
    facts = Facts(seconds, asked.pictures, asked.start, asked.driver, asked.mtbf * 3600)
    kinds = {
        "no failures, driver free": Facts(seconds, asked.pictures, asked.start, 0, 0),
        f"a death every {asked.mtbf:g} h of work, driver {1000 * asked.driver:g} ms": facts,
        f"the same, driver {10_000 * asked.driver:g} ms": Facts(
            seconds, asked.pictures, asked.start, 10 * asked.driver, facts.mtbf
        ),
    }
    cases: dict[str, list[Result]] = {}
    for name, kind in kinds.items():
        cases[name] = []
        for workers in map(int, asked.workers.split(",")):
            result = simulate(kind, workers, asked.seed)
            cases[name].append(result)
            print(name, json.dumps(asdict(result)), flush=True)
    if asked.plot:
        plot(asked.plot, cases, facts)
    if asked.json:
        document = {"facts": asdict(facts), "cases": {n: [asdict(r) for r in results] for n, results in cases.items()}}
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
