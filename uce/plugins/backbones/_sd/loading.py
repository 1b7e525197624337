"""From what the user named to the loaded parts of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core import ModelError
from uce.core.files import parse_json
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd import prediction
from uce.plugins.backbones._sd.extras import find_vae, with_extras
from uce.plugins.backbones._sd.files import PICKLED, require_complete, require_safetensors
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.hub import STEMS, choose_variant, fetch, weight_names
from uce.plugins.backbones._sd.kinds import UNSUPPORTED
from uce.plugins.backbones._sd.parts import Parts, describe, guarded, vae_dtype
from uce.plugins.backbones._sd.place import MINI, Repository, locate
from uce.plugins.backbones._sd.pool import IGNORED
from uce.plugins.backbones._sd.single_file import CONFIGS, load_single_file

if TYPE_CHECKING:
    import torch

_FORMS = ("", "Img2Img", "Inpaint", "ControlNet", "ControlNetImg2Img", "PAG", "Adapter")
PIPELINES = frozenset([*(f"StableDiffusion{form}Pipeline" for form in _FORMS), "LatentConsistencyModelPipeline"])
"""Of 1.x and 2.x, by the name in a folder's model_index.json: what they do differs, their parts may be the same."""
XL_PIPELINES = frozenset(f"StableDiffusionXL{form}Pipeline" for form in _FORMS)
_COMPARING = re.compile(r"(vision_model|visual_projection|text_projection)\b")
"""Of a text encoder that was stored with its picture side, which drawing does not need."""
_PARTS = ("unet", "vae", "text_encoder")


def load_parts(model: str, settings: Any, precision: str) -> Parts | None:
    """Find and load `model`; None where it is a diffusers pipeline of another kind.

    Raises:
        ModelError: nothing usable stands behind the name.
    """
    place = locate(model, settings)
    variant = getattr(settings, "variant", None)
    if isinstance(place, Repository):
        if place.file is None and not understands(fetch(place, variant, index_only=True), model):
            return None
        place = fetch(place, variant)
    if place.is_dir():
        return load_folder(model, place, settings, precision)
    return load_single_file(model, place, settings, precision)


def understands(folder: Path, model: str) -> bool:
    """Whether a diffusers folder is of 1.x or 2.x, by the name in its model_index.json (no name: it is taken for one).

    Raises:
        ModelError: no index, or the folder is of a family that no part of uce loads.
    """
    found = read_json(folder / "model_index.json", model, "model_index.json").get("_class_name")
    if found is not None and found not in PIPELINES | XL_PIPELINES:
        raise ModelError(f"model '{model}' is a {found}, {UNSUPPORTED}")
    return found not in XL_PIPELINES


def load_folder(model: str, folder: Path, settings: Any, precision: str) -> Parts | None:
    """Load a diffusers folder, part by part, so that an error can say which part is at fault.

    Raises:
        ModelError: a part is missing, damaged, or not what Stable Diffusion is made of.
    """
    if not understands(folder, model):
        return None
    vae_place = find_vae(settings)
    read = FolderReader(model, folder, settings, [part for part in _PARTS if part != "vae" or vae_place is None])
    scheduler, found = read.scheduler()

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel

    dtype = resolve_dtype(precision)
    few = prediction.few_steps(Path(model).name, {}, scheduler)
    parts = Parts(
        model=model,
        origin=_describe(folder, model, found, few, read.note),
        unet=read.part(UNet2DConditionModel, "unet", dtype),
        vae=read.part(AutoencoderKL, "vae", vae_dtype(dtype)) if vae_place is None else None,
        text_encoder=read.part(CLIPTextModel, "text_encoder", dtype),
        tokenizer=load_tokenizer(folder / "tokenizer", model),
        scheduler=scheduler,
        fingerprint=fingerprint_files(read.files, [*read.configs.values(), scheduler]),
        few_steps=few,
        folder=folder,
    )
    own = folder / "vae"
    default = own if own.is_dir() else CONFIGS / "sd15" / "vae"
    done: Parts = with_extras(parts, settings, vae_place, default, dtype)
    return done


@dataclass(frozen=True)
class FoundWeights:
    """A part's files, in one variant ("" for the plain one)."""

    variant: str
    files: list[Path]


class FolderReader:
    """The parts of a diffusers folder: their configurations, and their weights in the variant that each has.

    Attributes:
        configs: the parts' config.json, by part.
        note: what the user should know about the files, "" where nothing.
    """

    def __init__(self, model: str, folder: Path, settings: Any, parts: list[str]) -> None:
        self.model, self.folder, self.settings = model, folder, settings
        wanted = None if folder == MINI else getattr(settings, "variant", None)
        self._found = {part: find_weights(folder / part, STEMS[part], wanted, model) for part in parts}
        if wanted and not any(found.variant == wanted for found in self._found.values()):
            there = sorted({found.variant or "the plain one" for found in self._found.values()})
            raise ModelError(
                f"model '{model}' has no files of the variant '{wanted}'; found: {', '.join(there)}; leave "
                "model.variant out, and the files that are there are taken"
            )
        self.configs = {part: read_json(folder / part / "config.json", model, f"the {part}") for part in parts}
        kind = self.configs.get("vae", {}).get("_class_name", "AutoencoderKL")
        if kind != "AutoencoderKL":
            raise ModelError(
                f"model '{model}' has a VAE of another kind ({kind}); name an AutoencoderKL with --set model.vae=FILE"
            )
        variants = sorted({found.variant for found in self._found.values()} - {"", wanted})
        self.note = f"from its {', '.join(variants)} files" if variants else ""

    @property
    def files(self) -> list[Path]:
        """All weight files."""
        return [file for found in self._found.values() for file in found.files]

    def scheduler(self) -> tuple[dict[str, Any], prediction.Prediction]:
        """The scheduler's configuration with what the model predicts."""
        config = read_json(self.folder / "scheduler" / "scheduler_config.json", self.model, "the scheduler")
        found = prediction.of_folder(config, self.settings, self.model)
        same = config.get("prediction_type", "epsilon") == found.kind
        return (config if same else found.scheduler(config)), found

    def part(self, cls: Any, part: str, dtype: torch.dtype) -> Any:
        """One part, on the CPU."""
        found = self._found[part]
        for file in found.files:
            who = f"model '{self.model}': the {part} ({file.name})"
            require_safetensors(file, who)
            guarded(lambda file=file, who=who: require_complete(file, who), self.model, part)  # type: ignore[misc]
        return load_part(cls, self.folder / part, found.variant, dtype, self.model)


def find_weights(folder: Path, stem: str, variant: str | None, model: str) -> FoundWeights:
    """The safetensors files of one part (several where it is split into shards)."""
    if not folder.is_dir():
        more = "; name one with --set model.vae=FILE" if folder.name == "vae" else "; download it"
        raise ModelError(f"model '{model}' has no {folder.name}: the folder '{folder.name}' is missing{more}")
    names = [path.name for path in folder.iterdir()]
    found = weight_names(names, stem)
    best = choose_variant(found, variant)
    if best is not None:
        return FoundWeights(best, [folder / name for name in found[best]])
    pickled = sorted(name for name in names if Path(name).suffix in PICKLED)
    others = sorted(name for name in names if name.endswith(".safetensors"))
    hint = (
        f"only pickle is there ({pickled[0]}), which is refused; convert it to safetensors"
        if pickled
        else f"found {others[0]}; rename it if it is the {folder.name}"
        if others
        else "download it again"
    )
    raise ModelError(f"model '{model}': {folder.name}/{stem}.safetensors is missing; {hint}")


def read_json(path: Path, model: str, part: str) -> dict[str, Any]:
    """A JSON object of a model folder.

    Raises:
        ModelError: missing, damaged, or something else.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = "is not a diffusers folder" if path.name == "model_index.json" else "is incomplete"
        raise ModelError(
            f"model '{model}' {what}: {path.relative_to(path.parents[1])} is missing; "
            "a Stable Diffusion folder holds model_index.json, unet, vae, text_encoder, tokenizer and scheduler"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"model '{model}': {part} cannot be read ({path.name}: {error}); download it again") from error
    if not isinstance(value, dict):
        raise ModelError(f"model '{model}': {part} cannot be read ({path.name} is no JSON object); download it again")
    return value


def load_part(cls: Any, folder: Path, variant: str, dtype: torch.dtype, model: str) -> Any:
    """One part of a diffusers folder, every tensor of which must be used.

    Raises:
        ModelError: weights and configuration do not belong together.
    """
    options = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": True, "torch_dtype": dtype}
    if cls.__module__.startswith("transformers"):
        options["dtype"] = options.pop("torch_dtype")
        options.pop("low_cpu_mem_usage")
    if variant:
        options["variant"] = variant

    def load() -> Any:
        return cls.from_pretrained(str(folder), output_loading_info=True, **options)

    part, report = guarded(load, model, folder.name)
    wrong = [*report.get("missing_keys", ()), *(str(key) for key in report.get("mismatched_keys", ()))]
    if wrong:
        raise ModelError(
            f"model '{model}': the {folder.name} lacks {len(wrong)} tensors or has them in another shape "
            f"(first: {wrong[0]}); its weights and config.json do not belong together: take both from one place"
        )
    more = [key for key in report.get("unexpected_keys", ()) if not (IGNORED.match(key) or _COMPARING.match(key))]
    if more:
        raise ModelError(
            f"model '{model}': the {folder.name} holds {len(more)} tensors that its config.json does not tell of "
            f"(first: {sorted(more)[0]}); without them it would be another model, so it is refused"
        )
    return part


def load_tokenizer(folder: Path, model: str) -> Any:
    """The CLIP tokenizer of a diffusers folder."""
    if not (folder / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise ModelError(f"model '{model}': {folder.name}/{name} is missing; download it again")
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    return guarded(lambda: CLIPTokenizer.from_pretrained(str(folder), local_files_only=True), model, folder.name)


def _describe(folder: Path, model: str, found: prediction.Prediction, few: str, note: str) -> str:
    card = folder / "description.txt"
    if card.is_file():
        return " ".join(card.read_text(encoding="utf-8").split())
    if folder == MINI:
        return (
            "mini, the embedded model; it is no photo model: it knows composed scenes of emoji-like objects on simple "
            "backgrounds"
        )
    return describe(f"{model}, a Stable Diffusion model", found, few, note)
