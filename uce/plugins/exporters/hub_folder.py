"""Tokens as a model repository of the Hugging Face hub, in the layout of sd-concepts-library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from PIL import Image

    from uce.core import StoredConcept, StoredRun, TokenExport

FILE = "learned_embeds.safetensors"


class HubFolderExporter:
    """The hub's sd-concepts-library layout with a model card: what `uce push` uploads."""

    name = "hub-folder"

    class Settings(BaseSettings):
        pictures: Literal["samples", "cut-outs", "none"] = Field(
            "samples", description="what concept_images holds: drawn samples, or the thing cut out of your own picture"
        )
        weights: bool = Field(True, description="also write a trained LoRA, where the run has one")

    @hookimpl
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Settings) -> str:
        """One token: everything at the top. Several: a folder for each, since loaders refuse files with two tokens."""
        from uce.core.files import write_picture, write_safetensors, write_text
        from uce.core.runs import token_file

        shown: dict[str, list[str]] = {}
        for token in tokens:
            folder = out if len(tokens) == 1 else out / token.stem
            write_safetensors(folder / FILE, token_file(token.token, token.vectors), token.header)
            write_text(folder / "token_identifier.txt", token.token)
            write_text(folder / "type_of_concept.txt", "object")
            shown[token.token] = []
            for number, picture in enumerate(_pictures(run, token.concept, settings.pictures)):
                path = folder / "concept_images" / f"{number}.png"
                write_picture(path, picture)
                shown[token.token].append(path.relative_to(out).as_posix())
        lora = _write_lora(run, tokens, out) if settings.weights else False
        write_text(out / "README.md", model_card(run, tokens, shown, lora))
        return _how(run, tokens, lora)


def _pictures(run: StoredRun, concept: StoredConcept, kind: str) -> list[Image.Image]:
    from uce.core.files import open_picture

    if kind == "cut-outs" and run.has_picture:
        from uce.core.runs import cut_out

        return [cut_out(concept)]
    path = run.path / "samples" / f"{concept.token.strip('<>')}.png"
    if kind != "samples" or not path.is_file():
        return []
    with open_picture(path) as picture:
        return [picture.convert("RGB")]


def _write_lora(run: StoredRun, tokens: Sequence[TokenExport], out: Path) -> bool:
    from uce.core import RunFolderError
    from uce.core.files import write_safetensors
    from uce.core.model import is_lora
    from uce.plugins.exporters.diffusers import LORA_NAME

    weights = run.weights
    if not weights:
        return False
    if not is_lora(weights):
        raise RunFolderError(
            f"{run.path / 'weights.safetensors'} holds tensors of the model itself, not a LoRA; export only the tokens "
            "with --set exporter.weights=false"
        )
    write_safetensors(out / LORA_NAME, weights, tokens[0].header)
    return True


def model_card(run: StoredRun, tokens: Sequence[TokenExport], shown: Mapping[str, Sequence[str]], lora: bool) -> str:
    """README.md: what it is, how to use it, what it was made from."""
    import yaml

    facts = tokens[0].facts
    licence = str(facts["licence"])
    plain = re.fullmatch(r"[a-zA-Z0-9.+-]+", licence) is not None
    kind = "stable-diffusion-xl" if tokens[0].two_encoders else "stable-diffusion"
    front: dict[str, Any] = {
        "license": licence.lower() if plain else "other",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": ["textual-inversion", kind, *(["lora"] if lora else []), "uce"],
    }
    if _is_hub_id(str(facts["model"])):
        front["base_model"] = str(facts["model"])
    title = " and ".join(f"`{token.token}`" for token in tokens)
    words = ", ".join(token.stem for token in tokens)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {words}",
        f"{title}: learned from one picture with [uce](https://arxiv.org/abs/2407.07077) (unsupervised concept "
        f"extraction) for the model {_linked(str(facts['model']))}. Use the {'words' if len(tokens) > 1 else 'word'} "
        f"in prompts like any other: `a photo of {tokens[0].token} in the snow`.",
        *(f"![{token}]({path})" for token, paths in shown.items() for path in paths),
        f"## Use\n\n```python\n{_how(run, tokens, lora)}\n```",
        f"## Facts\n\n{_facts_table(tokens)}",
        f"## Licence\n\n{licence[0].upper()}{licence[1:]}.".replace("..", "."),
    ]
    return "\n\n".join(parts) + "\n"


def _is_hub_id(model: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None


def _linked(model: str) -> str:
    return f"[`{model}`](https://huggingface.co/{model})" if _is_hub_id(model) else f"`{model}`"


def _facts_table(tokens: Sequence[TokenExport]) -> str:
    rows = ["| token | file | vectors | width |", "| --- | --- | --- | --- |"]
    for token in tokens:
        path = FILE if len(tokens) == 1 else f"{token.stem}/{FILE}"
        vectors = next(iter(token.vectors.values())).shape[0]
        width = " + ".join(str(value.shape[1]) for value in token.vectors.values())
        rows.append(f"| `{token.token}` | `{path}` | {vectors} | {width} |")
    facts = tokens[0].facts
    rows += ["", f"uce {facts['uce']}; model fingerprint {facts['model_fingerprint']}; picture {facts['picture']}."]
    return "\n".join(rows)


def _how(run: StoredRun, tokens: Sequence[TokenExport], lora: bool) -> str:
    from uce.plugins.exporters._printed import loading_lines
    from uce.plugins.exporters.diffusers import LORA_NAME

    model = str(tokens[0].facts["model"])
    known = model if _is_hub_id(model) else "the model named above"
    named = tokens[0].named_encoders
    lines = [
        "from diffusers import AutoPipelineForText2Image",
        *(["from huggingface_hub import hf_hub_download"] if named else []),
        "",
        f'pipe = AutoPipelineForText2Image.from_pretrained("{known}")',
    ]
    for token in tokens:
        folder = "" if len(tokens) == 1 else token.stem
        if token.named_encoders:
            path = f"{folder}/{FILE}" if folder else FILE
            lines += loading_lines(run, token, f'hf_hub_download("ORG/NAME", "{path}")')
        else:
            where = f', subfolder="{folder}"' if folder else ""
            lines.append(f'pipe.load_textual_inversion("ORG/NAME"{where})')
    if lora:
        lines.append(f'pipe.load_lora_weights("ORG/NAME", weight_name="{LORA_NAME}")')
    return "\n".join(lines)
