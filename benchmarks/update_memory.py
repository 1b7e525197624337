"""Memory and seconds of one update of one prompt at a published model's true shapes, with random bfloat16 weights.

python benchmarks/update_memory.py sd15 [--checkpointing] [--device cuda]     kinds: sd15, sd21-base, sdxl

Beside what is measured stands what `uce.core.model.costs` counts, so that its margin can be checked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from architectures import MODELS, write_model
from measuring import peak_since, start_peak


def update(backbone: Any, vectors: Any, side: int) -> None:
    """A denoising loss and an attention term, and their gradient."""
    import torch

    from uce.core.model.backbone import Capture

    prompt = backbone.tokenize("a photo of <a>", {"<a>": 0})
    noisy = torch.randn(1, backbone.latent_channels, backbone.latent_side, backbone.latent_side).to(backbone.device)
    capture = Capture("cross", sides=frozenset({side}), columns=torch.tensor([[4]]))
    with backbone.capture(capture) as maps:
        states = backbone.encode_prompts([prompt], vectors)
        prediction = backbone.predict(noisy, torch.tensor([500]), states)
    (prediction.square().mean() + sum(one.probs.mean() for one in maps)).backward()


def main() -> None:
    """Parse the command line, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=MODELS)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()

    from uce.core.model.costs import GIGABYTE
    from uce.core.registry.manager import load_manager

    with tempfile.TemporaryDirectory() as scratch:
        folder = write_model(given.kind, Path(scratch))
        backbone: Any = load_manager().pm.hook.uce_load_backbone(
            model=str(folder),
            settings=SimpleNamespace(checkpointing=given.checkpointing),
            device=given.device,
            precision="bfloat16",
        )
        vectors = {name: backbone.embedding_table(name)[:1].float().clone() for name in backbone.encoders}
        for vector in vectors.values():
            vector.requires_grad_()
        costs = backbone.costs(quick=True)
        start_peak(given.device)
        begun = time.perf_counter()
        update(backbone, vectors, 32 if given.kind == "sdxl" else 16)
        seconds = time.perf_counter() - begun
    kept = costs.kept_checkpointed if given.checkpointing else costs.kept
    weights = sum(costs.weights.values()) / GIGABYTE
    peak = peak_since(given.device)
    found = {"kind": given.kind, "checkpointing": given.checkpointing, "seconds": round(seconds, 1)}
    found |= {"weights_gb": round(weights, 2), "peak_gb": round(peak, 2), "counted_gb": round(kept / GIGABYTE, 2)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
