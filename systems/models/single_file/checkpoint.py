"""A checkpoint in one file becomes a diffusers pipeline: the parts of a folder, out of names and shapes alone.

Nothing is looked up on the hub: configs follow from the shapes of the weights and from what is known of the family, and
CLIP's tokenizer ships. (diffusers' ``from_single_file`` fetches configs, and passes over what it does not know.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ....configs.errors import BadInput
from ..families.family import Family
from ..families.table import FAMILIES
from ..precision import quiet_libraries
from ..reading import explained
from .clip_tokenizer import WORDS, clip_tokenizer
from .configs import clip_config, unet_config, vae_config
from .header import Header, read_header, refusal, refuse_other_uses
from .original import UNET, VAE, Encoder, Original
from .weights import Weight, placed, shapes_of

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_NOTED = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}


def is_checkpoint(path: Path) -> bool:
    """Whether a file holds a whole network by the names of the original repositories, of whatever kind."""
    try:
        return path.suffix == ".safetensors" and read_header(path).is_checkpoint
    except BadInput:
        return False  # who reads it next says why


def recognised(header: Header) -> Original:
    """The layout of a file, by its names. BadInput, with what it looks like, when it is none that we read."""
    for family in FAMILIES.values():
        for original in family.originals:
            if header.is_checkpoint and all(header.under(one.prefix) for one in original.encoders):
                refuse_other_uses(header)
                return original
    raise refusal(header)


def read_checkpoint(path: Path, like: Any = None) -> tuple[Family, Any]:
    """(family, diffusers pipeline, float32 and frozen) of a file.

    Args:
        like: a pipeline of which parts with equal weights, other than the network, are shared.
    Raises: BadInput when the file is broken, of another kind, or has weights too few or too many.
    """
    header = read_header(path)
    original = recognised(header)
    family = FAMILIES[original.pipeline]
    weights = placed(header, original)
    with explained(path, "the checkpoint"), quiet_libraries(), safe_open(path, framework="pt") as file:
        read: dict[str, Any] = {}
        for encoder in original.encoders:
            read[encoder.part] = _text_encoder(path, encoder, weights[encoder.part], file)
            read[encoder.tokenizer] = clip_tokenizer(encoder.pad)
        if not weights["vae"]:
            raise BadInput(f"{path} holds no autoencoder; give one that has it")
        config = vae_config(
            header.under(VAE),
            scaling_factor=original.scaling_factor,
            sample_size=8 * original.latents["epsilon"],
        )
        read["vae"] = loaded(_diffusers("AutoencoderKL", config), weights["vae"], file, path)
        config = unet_config(
            header.under(UNET), heads=original.heads, sample_size=original.latents["epsilon"]
        )
        read["unet"] = loaded(_diffusers("UNet2DConditionModel", config), weights["unet"], file, path)
        kind = _prediction_type(header, original, read)
        read["unet"].register_to_config(sample_size=original.latents[kind])
        read["scheduler"] = _scheduler(header, original, kind, file)
        read |= _shared(read, like, family.network)
        pipeline = family.assemble(read, original.index)
    pipeline.set_progress_bar_config(disable=True)
    return family, pipeline


def loaded(network: Any, weights: Mapping[str, Weight], file: Any, path: Path) -> Any:
    """A network with its weights, every one of them, frozen."""
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    if missing:
        raise BadInput(
            f"{path} lacks {len(missing)} of the weights of its {type(network).__name__}, such as {missing[0]}; "
            "fetch it again"
        )
    for name, weight in weights.items():
        if name not in wanted or wanted[name].shape != weight.shape:
            raise BadInput(
                f"{path} has a weight {weight.key} {list(weight.shape)} that does not fit the others; "
                "give a checkpoint of the plain model"
            )
    tensors = {name: weight.of(file.get_tensor(weight.key)) for name, weight in weights.items()}
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(False).eval()


def _diffusers(name: str, config: Mapping[str, Any]) -> Any:
    """A network without numbers, which would be drawn for nothing."""
    import diffusers

    with torch.device("meta"):
        return getattr(diffusers, name)(**config)


def _text_encoder(path: Path, encoder: Encoder, weights: Mapping[str, Weight], file: Any) -> Any:
    import transformers

    shapes = shapes_of(weights)
    activation = "gelu" if encoder.open_clip else "quick_gelu"
    projection = shapes["text_projection.weight"][0] if encoder.projected else None
    config = transformers.CLIPTextConfig(**clip_config(shapes, activation=activation, projection=projection))
    if config.vocab_size != WORDS:
        raise BadInput(
            f"the text encoder in {path} knows {config.vocab_size} words, not CLIP's {WORDS}; "
            "give a model in diffusers' layout, which brings its own tokenizer"
        )
    kind = transformers.CLIPTextModelWithProjection if encoder.projected else transformers.CLIPTextModel
    network = kind(config)
    # Versions of transformers differ in whether the names of a plain encoder have a prefix.
    prefix = "text_model." if any(name.startswith("text_model.") for name in network.state_dict()) else ""
    named = {
        name if name == "text_projection.weight" else prefix + name: weight
        for name, weight in weights.items()
    }
    return loaded(network, named, file, path)


def _scheduler(header: Header, original: Original, prediction_type: str, file: Any) -> Any:
    from diffusers import DDIMScheduler

    # What is not said stays a default, which samplers made of this one replace by their own: as of the hub's configs.
    told = {
        **_BETAS,
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": False,
        **original.scheduler,
    }
    made: Any = DDIMScheduler
    scheduler = made(**told, prediction_type=prediction_type)
    if "ztsnr" in header.shapes:
        raise BadInput(
            f"{header.path} was trained to begin from pure noise (zero terminal SNR), where eps says nothing of the "
            "picture; give a model without it"
        )
    if "alphas_cumprod" in header.shapes:
        known = file.get_tensor("alphas_cumprod").float()
        if known.shape != scheduler.alphas_cumprod.shape or not torch.allclose(
            known, scheduler.alphas_cumprod, atol=1e-3
        ):
            raise BadInput(
                f"{header.path} was trained on another noise schedule than Stable Diffusion's; "
                "give it in diffusers' layout, which says which"
            )
    return scheduler


def _prediction_type(header: Header, original: Original, read: Mapping[str, Any]) -> str:
    """What the file says; of Stable Diffusion 2, which comes in both kinds, what the network answers to pure noise."""
    noted = header.notes.get("modelspec.prediction_type", "").lower()
    if noted in _NOTED:
        return _NOTED[noted]
    if "v_pred" in header.shapes:
        return "v_prediction"
    if len(set(original.latents.values())) == 1:
        return "epsilon"
    text = read["text_encoder"](torch.zeros(1, 77, dtype=torch.long))[0]
    return "epsilon" if names_the_noise(read["unet"], text) else "v_prediction"


@torch.no_grad()
def names_the_noise(unet: Any, text: Tensor) -> bool:
    """Whether a network answers nearly pure noise with that noise: eps does, and v is minus the picture there.

    At t = 999 of Stable Diffusion's schedule eps = x_t to 0.3 %, while v = a eps - s x0 has a = 0.07.
    """
    noise = torch.randn(1, unet.config.in_channels, 32, 32, generator=torch.Generator().manual_seed(0))
    answer = unet(noise, torch.tensor([999]), text).sample
    return torch.nn.functional.cosine_similarity(answer.flatten(), noise.flatten(), dim=0).item() > 0.5


def _shared(read: Mapping[str, Any], like: Any, network: str) -> dict[str, Any]:
    """The parts of another pipeline that have the same weights as these."""
    if like is None:
        return {}
    pairs = {
        name: (part, like.components.get(name))
        for name, part in read.items()
        if isinstance(part, torch.nn.Module) and name != network
    }
    return {name: theirs for name, (ours, theirs) in pairs.items() if _same(ours, theirs)}


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two parts are one: equal weights, and equal in what their configs say beyond these."""
    if type(ours) is not type(theirs):
        return False
    mine, other = ours.state_dict(), theirs.state_dict()
    told = ("scaling_factor", "shift_factor", "hidden_act")
    return (
        mine.keys() == other.keys()
        and all(getattr(ours.config, key, None) == getattr(theirs.config, key, None) for key in told)
        and all(torch.equal(mine[key], other[key].to("cpu", torch.float32)) for key in mine)
    )
