"""From what the user named to the loaded parts of a transformer model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.loading import find_weights, load_part, load_tokenizer, read_json
from uce.plugins.backbones._sd.parts import guarded, vae_dtype
from uce.plugins.backbones._sd.place import Repository, locate
from uce.plugins.backbones._transformer.family import pipeline_of, require_known, require_no_gguf

WEIGHTS = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Layout:
    """What a family's diffusers folder holds.

    Attributes:
        pipeline: the name in its model_index.json.
        title: what people call the family.
        transformer: class of `diffusers.models.transformers`.
        clips: text encoder -> (tokenizer's folder, encoder's folder, class of transformers).
        t5: (tokenizer's folder, encoder's folder).
        t5_optional: whether the model works without T5.
    """

    pipeline: str
    title: str
    transformer: str
    clips: Mapping[str, tuple[str, str, str]]
    t5: tuple[str, str]
    t5_optional: bool = False


@dataclass(frozen=True, eq=False)
class TransformerParts:
    """A loaded model, still on the CPU.

    Attributes:
        model: as the user named it.
        origin: one line that says what it is and where it came from.
        clips: text encoder -> (tokenizer, encoder).
        t5: (tokenizer, what loads the encoder); None for a model without.
        scheduler: the model's own scheduler configuration.
    """

    model: str
    origin: str
    transformer: Any
    vae: Any
    clips: dict[str, tuple[Any, Any]]
    t5: tuple[Any, Callable[[], Any]] | None
    scheduler: dict[str, Any]
    fingerprint: str


def find(model: str, settings: Any, layout: Layout) -> Path | None:
    """The diffusers folder or .safetensors file behind a name; None where it is of another family, or nothing at all:
    others say what is wrong.

    Raises:
        ModelError: a family that nothing here understands, or the hub cannot be asked.
    """
    require_no_gguf(model)
    try:
        place = locate(model, settings)
    except ModelError:
        return None
    if isinstance(place, Repository):
        return _fetched(place, settings, layout, model)
    if not place.is_dir():
        return place
    return place if _belongs(place, layout, model) else None


def _belongs(folder: Path, layout: Layout, model: str) -> bool:
    """Whether the folder's pipeline is the layout's."""
    pipeline = pipeline_of(folder)
    require_known(pipeline, model)
    return pipeline == layout.pipeline


def _fetched(place: Repository, settings: Any, layout: Layout, model: str) -> Path | None:
    from uce.plugins.backbones._sd.hub import fetch

    variant = getattr(settings, "variant", None)
    if place.file:
        return fetch(place, variant)
    index = fetch(place, variant, index_only=True)
    if not _belongs(index, layout, model):
        return None
    from huggingface_hub import snapshot_download

    suffix = f".{variant}" if variant else ""
    stems = [f"{part}/{WEIGHTS}" for part in ("transformer", "vae")]
    stems += [f"{folder}/model" for folder in _encoder_folders(layout)]
    patterns = ["model_index.json", "*/config.json", "scheduler/*.json", "tokenizer*/*"]
    for stem in stems:
        patterns += [f"{stem}{suffix}*.safetensors", f"{stem}*.index*.json", f"{stem}.safetensors"]
    return Path(
        guarded(
            lambda: snapshot_download(place.id, revision=place.revision, allow_patterns=patterns), model, "download"
        )
    )


def _encoder_folders(layout: Layout) -> list[str]:
    return [*(folder for _, folder, _ in layout.clips.values()), layout.t5[1]]


def load_folder(model: str, folder: Path, layout: Layout, settings: Any, precision: str) -> TransformerParts:
    """Load a diffusers folder, part by part, so that an error can say which part is at fault.

    Raises:
        ModelError: a part is missing or damaged.
    """
    variant, dtype = getattr(settings, "variant", None), resolve_dtype(precision)
    index = read_json(folder / "model_index.json", model, "model_index.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", model, "the scheduler")
    found = find_weights(folder / "transformer", WEIGHTS, variant, model)
    config = read_json(folder / "transformer" / "config.json", model, "the transformer")
    transformer = load_part(transformer_class(layout), folder / "transformer", found.variant, dtype, model)
    vae, vae_files = load_vae(model, folder, settings, dtype)
    clips, t5, text_files = load_text(model, folder, layout, settings, dtype, index)
    facts = [config, dict(vae.config), scheduler]
    return TransformerParts(
        model=model,
        origin=f"{model}, a {layout.title} model",
        transformer=transformer,
        vae=vae,
        clips=clips,
        t5=t5,
        scheduler=scheduler,
        fingerprint=fingerprint_files([*found.files, *vae_files, *text_files], facts),
    )


def transformer_class(layout: Layout) -> Any:
    import diffusers

    return getattr(diffusers, layout.transformer)


def load_vae(model: str, folder: Path, settings: Any, dtype: Any) -> tuple[Any, list[Path]]:
    """The VAE of the folder, or of `model.vae`, and its files."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    given = getattr(settings, "vae", None)
    place = Path(given).expanduser() if given else folder / "vae"
    if place.is_file():
        from uce.plugins.backbones._transformer.vae_file import vae_from_file

        return vae_from_file(place, model, vae_dtype(dtype)), [place]
    if given and not place.is_dir():
        raise ModelError(f"model.vae '{given}' does not exist; give a VAE as .safetensors or as a diffusers folder")
    place = place / "vae" if (place / "vae").is_dir() else place
    found = find_weights(place, WEIGHTS, getattr(settings, "variant", None), model)
    return load_part(AutoencoderKL, place, found.variant, vae_dtype(dtype), model), found.files


def load_text(
    model: str, folder: Path, layout: Layout, settings: Any, dtype: Any, index: Mapping[str, Any]
) -> tuple[dict[str, tuple[Any, Any]], tuple[Any, Callable[[], Any]] | None, list[Path]]:
    """Text encoders and tokenizers of the folder, or of `model.text_encoders`, and their files; T5 is not read yet."""
    import transformers

    given = getattr(settings, "text_encoders", None)
    place = Path(given).expanduser() if given else folder
    if given and not place.is_dir():
        raise ModelError(
            f"model.text_encoders '{given}' is no folder; give a diffusers folder that holds "
            f"{', '.join(_encoder_folders(layout))} and their tokenizers"
        )
    variant = getattr(settings, "variant", None)
    files: list[Path] = []
    clips = {}
    for name, (tokenizer, encoder, kind) in layout.clips.items():
        found = find_weights(place / encoder, "model", variant, model)
        files += found.files
        loaded = load_part(getattr(transformers, kind), place / encoder, found.variant, dtype, model)
        clips[name] = load_tokenizer(place / tokenizer, model), loaded
    tokenizer, encoder = layout.t5
    if layout.t5_optional and (not (place / encoder).is_dir() or index.get(encoder, [""])[0] is None):
        return clips, None, files
    last = find_weights(place / encoder, "model", variant, model)

    def load() -> Any:
        return load_part(transformers.T5EncoderModel, place / encoder, last.variant, dtype, model)

    return clips, (_t5_tokenizer(place / tokenizer, model), load), [*files, *last.files]


def _t5_tokenizer(folder: Path, model: str) -> Any:
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"model '{model}': {folder.name}/tokenizer.json is missing; take it from the model's page again"
        )
    from transformers import AutoTokenizer

    return guarded(lambda: AutoTokenizer.from_pretrained(str(folder), local_files_only=True), model, folder.name)
