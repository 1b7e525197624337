"""Training a diffusers UNet's weights, and computing with trained ones, without changing the UNet for good.

LoRA layers come from peft. All other tensors never touch the UNet's parameters: they are laid over them, as attributes
of the modules, which Python finds before `nn.Module` looks for a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from uce.core import ModelError, TrainedWeights, Tuning
from uce.core.model import LORA_DOWN, LORA_UP, PREFIX, chosen_modules
from uce.plugins.backbones._sd.quiet import quiet_libraries

ADAPTER = "uce"
_PEFT_ATTRIBUTES = ("peft_config", "_hf_peft_config_loaded")


@contextmanager
def trained_unet(unet: nn.Module, tuning: Tuning) -> Iterator[TrainedWeights]:
    """See `uce.core.model.backbone.Backbone.train_weights`."""
    with _restored(unet) as stack:
        yield _add_lora(unet, tuning) if tuning.kind == "lora" else _lay_over(unet, tuning, stack)


@contextmanager
def weighted_unet(unet: nn.Module, weights: Mapping[str, Tensor], model: str) -> Iterator[None]:
    """See `uce.core.model.backbone.Backbone.use_weights`."""
    lora, others = split_weights(weights, unet, model)
    with _restored(unet) as stack:
        if lora:
            with torch.random.fork_rng(_cuda(unet)), quiet_libraries():  # layers are made at random, then filled
                unet.load_lora_adapter(lora, prefix="unet", adapter_name=ADAPTER)  # type: ignore[operator]
        for name, value in others.items():
            _cover(unet, name, value.to(unet.get_parameter(name)), stack)
        yield


def split_weights(
    weights: Mapping[str, Tensor], unet: nn.Module, model: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """LoRA tensors under their own names, and all others under the names of the parameters that they replace.

    Raises:
        ModelError: a name or shape that does not fit this UNet.
    """
    lora, others = {}, {}
    shapes = {f"{PREFIX}{name}": tuple(value.shape) for name, value in unet.named_parameters()}
    for name, value in weights.items():
        layer = name.removesuffix(LORA_DOWN).removesuffix(LORA_UP)
        wanted = shapes.get(name if layer == name else f"{layer}.weight", ())
        if layer == name:
            fits, others[name.removeprefix(PREFIX)] = tuple(value.shape) == wanted, value
        elif name.endswith(LORA_DOWN):
            fits, lora[name] = tuple(value.shape[1:]) == wanted[1:], value
        else:
            fits, lora[name] = value.shape[0] == (wanted or (-1,))[0], value
        if not (wanted and fits):
            raise ModelError(
                f"the weights' {name} {tuple(value.shape)} does not fit model '{model}'; "
                "they were trained with another model, use that one"
            )
    return lora, others


def load_into(pipe: Any, weights: Mapping[str, Tensor], model: str) -> None:
    """Load trained weights into a pipeline whose UNet is its own."""
    lora, others = split_weights(weights, pipe.unet, model)
    if others:
        pipe.unet.load_state_dict(others, strict=False)
    if lora:
        with torch.random.fork_rng(_cuda(pipe.unet)):
            pipe.load_lora_weights(lora, adapter_name=ADAPTER)


def _add_lora(unet: nn.Module, tuning: Tuning) -> TrainedWeights:
    from peft import LoraConfig, inject_adapter_in_model

    layers = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    targets = chosen_modules(layers, tuning.modules)
    config = LoraConfig(r=tuning.rank, lora_alpha=tuning.alpha, target_modules=targets)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(tuning.seed)
    with torch.random.fork_rng(_cuda(unet)):
        inject_adapter_in_model(config, unet, ADAPTER)
    pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
    for name in targets:
        layer: Any = unet.get_submodule(name)
        down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        bound = down[0].numel() ** -0.5  # as torch starts a linear layer, but from our own seed
        for value, start in ((down, torch.rand(down.shape, generator=generator) * 2 * bound - bound), (up, 0 * up)):
            value.data = start.to(down.device, torch.float32)
            value.requires_grad_(True)
        pairs[name] = down, up

    def export() -> dict[str, Tensor]:
        tensors = {}
        for name, (down, up) in pairs.items():
            tensors[f"{PREFIX}{name}{LORA_DOWN}"] = down.detach().cpu().clone()
            tensors[f"{PREFIX}{name}{LORA_UP}"] = up.detach().cpu() * (tuning.alpha / tuning.rank)
        return tensors

    parameters = {f"{name}.{'up' if i else 'down'}": pair[i] for name, pair in pairs.items() for i in (0, 1)}
    return TrainedWeights(parameters, export)


def _lay_over(unet: nn.Module, tuning: Tuning, stack: ExitStack) -> TrainedWeights:
    """Float32 copies of the chosen parameters; before every pass the modules get them in their own precision."""
    owners = [
        name for name, module in unet.named_modules() if name and next(module.parameters(False), None) is not None
    ]
    chosen = chosen_modules(owners, tuning.modules)
    own = {
        f"{owner}.{name}": value
        for owner in chosen
        for name, value in unet.get_submodule(owner).named_parameters(recurse=False)
    }
    parameters = {name: value.detach().float().clone().requires_grad_(True) for name, value in own.items()}

    def refresh(*_: Any) -> None:
        for name, value in parameters.items():
            _cover(unet, name, value.to(own[name].dtype))

    refresh()
    for name in own:
        stack.callback(_uncover, unet, name)
    stack.callback(unet.register_forward_pre_hook(refresh).remove)
    return TrainedWeights(
        parameters, lambda: {f"{PREFIX}{name}": value.detach().cpu().clone() for name, value in parameters.items()}
    )


def _cover(unet: nn.Module, name: str, value: Tensor, stack: ExitStack | None = None) -> None:
    owner, _, own = name.rpartition(".")
    vars(unet.get_submodule(owner))[own] = value
    if stack is not None:
        stack.callback(_uncover, unet, name)


def _uncover(unet: nn.Module, name: str) -> None:
    owner, _, own = name.rpartition(".")
    vars(unet.get_submodule(owner)).pop(own, None)


@contextmanager
def _restored(unet: nn.Module) -> Iterator[ExitStack]:
    """After the block the UNet has its own layers, attributes and frozen parameters again."""
    attributes: dict[str, Any] = {key: vars(unet)[key] for key in _PEFT_ATTRIBUTES if key in vars(unet)}
    learning = {name: value.requires_grad for name, value in unet.named_parameters()}
    with ExitStack() as stack:
        try:
            yield stack
        finally:
            _remove_adapters(unet)
            for key in _PEFT_ATTRIBUTES:
                vars(unet).pop(key, None)
            vars(unet).update(attributes)
            for name, value in unet.named_parameters():
                value.requires_grad_(learning[name])


def _remove_adapters(unet: nn.Module) -> None:
    """Put the layers that peft wrapped back in their places."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(unet.named_modules()):
        if isinstance(module, BaseTunerLayer):
            owner, _, own = name.rpartition(".")
            setattr(unet.get_submodule(owner), own, module.get_base_layer())


def _cuda(unet: nn.Module) -> list[torch.device]:
    device = next(unet.parameters()).device
    return [device] if device.type == "cuda" else []
