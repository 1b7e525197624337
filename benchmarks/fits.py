"""Which model runs on which card, and how: computed from counted costs, nothing is run.

python benchmarks/fits.py [--write]    --write puts the table into docs/models.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from measuring import markdown

from uce.core.model.costs import GIGABYTE, Costs, make_plan
from uce.plugins.backbones._sd.counting import KNOWN

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
CARDS = {6: 13e12, 8: 20e12, 12: 25e12, 16: 65e12, 24: 71e12, 80: 312e12}
"""Gigabytes of a card, and half precision FLOPs per second that are assumed of a usual one of that size."""
FRACTION = 0.35
PARTS = {  # bytes of a bfloat16 model: parameters of UNet, VAE and text encoders
    "SD 1.5": (64, 768, (859_520_964, 83_653_863, 123_060_480)),
    "SD 2.1 (512 px)": (64, 1024, (865_910_724, 83_653_863, 340_387_840)),
    "SD 2.1 (768 px)": (96, 1024, (865_910_724, 83_653_863, 340_387_840)),
    "SDXL": (128, 2048, (2_567_463_684, 83_653_863, 123_060_480 + 694_659_840)),
}


def costs(side: int, width: int, parameters: tuple[int, int, int]) -> Costs:
    """Of a published shape in half precision."""
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    counts = next(value for key, value in known.items() if json.loads(key)[0] == side and json.loads(key)[3] == width)
    pixels = 8 * side
    return Costs(
        weights=dict(zip(("unet", "vae", "text"), (2 * count for count in parameters), strict=True)),
        kept=2 * counts["kept"],
        kept_checkpointed=2 * counts["kept_checkpointed"],
        largest=2 * counts["largest"],
        decode=3 * 256 * 2 * pixels**2 + 12 * pixels**2,
        decode_tiled=3 * 256 * 2 * (pixels // 2) ** 2 + 24 * pixels**2,
        forward=counts["forward"],
        cells=counts["cells"],
    )


def cell(found: Costs, gigabytes: int, speed: float) -> str:
    """The settings that fit, and seconds of an update of four prompts."""
    for offload in (False, True):
        plan = make_plan(found, int(0.95 * gigabytes * GIGABYTE), offload=offload)
        if plan.fits:
            break
    else:
        return "does not fit"
    passes = 4 if plan.checkpointing else 3  # forward, again, and a backward pass worth two
    ways = [f"micro-batch {plan.micro_batch}"]
    ways += [name for name in ("checkpointing", "tiling", "offload") if getattr(plan, name)]
    return f"{', '.join(ways)}; {4 * passes * found.forward / (FRACTION * speed):.1f} s"


def table() -> str:
    """Models by cards."""
    rows = [
        [name, *(cell(costs(*shape), gigabytes, speed) for gigabytes, speed in CARDS.items())]
        for name, shape in PARTS.items()
    ]
    return markdown(["model", *(f"{gigabytes} GB" for gigabytes in CARDS)], rows)


def main() -> None:
    """Print the table; write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    text = f"Settings that fit, and seconds expected of an update of four prompts (computed):\n\n{table()}"
    if parser.parse_args().write:
        page = PAGE.read_text(encoding="utf-8")
        begin, end = "<!-- fits -->", "<!-- end fits -->"
        before, rest = page.split(begin, 1)
        PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
