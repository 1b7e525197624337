"""Fetching a model from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from uce.core import ModelError

_WEIGHTS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model", "text_encoder_2/model")


def fetch(repository: str, revision: str | None, variant: str | None, *, index_only: bool = False) -> Path:
    """Download (or find in the cache) only the files that are needed; `index_only`: what tells the model's family.

    Raises:
        ModelError: no network and nothing cached, no such repository or revision, or no access.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    suffix = f".{variant}" if variant else ""
    patterns = ["model_index.json"]
    if not index_only:
        patterns += ["*/config.json", "scheduler/*.json", "tokenizer/*", "tokenizer_2/*.json", "tokenizer_2/*.txt"]
    for part in () if index_only else _WEIGHTS:
        patterns += [f"{part}{suffix}.safetensors", f"{part}{suffix}-*.safetensors", f"{part}*.index.json"]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        raise ModelError(
            f"hub model '{repository}' needs its licence accepted; do so on its page and log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"hub model '{repository}' has no revision '{revision}'; look at its page for names"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"hub model '{repository}' does not exist or is private; check the name, or log in with `hf auth login`"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"model '{repository}' is neither a path that exists nor a hub id such as org/name") from error
    except (LocalEntryNotFoundError, OSError, RuntimeError) as error:
        raise ModelError(
            f"model '{repository}' is no local path, is not in the cache and the hub cannot be reached; "
            "connect to the network, or give a local diffusers folder, a .safetensors file, or --model mini"
        ) from error
