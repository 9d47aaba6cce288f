"""The ways to learn a domain, as data: what a training starts from, and what is written at its end.

null-text   paper 1 (arxiv.org/abs/2312.08195): a UNet without text, from pictures alone; becomes a domain
full        the whole network under one prompt, the papers' baseline; becomes a model for --model
dog         paper 2 (arxiv.org/abs/2504.01521): the whole network under each picture's own words or class, without
            dropping any; becomes a model for --model and the recipe domain_guidance
lora        low-rank adapters (arxiv.org/abs/2106.09685) under one prompt; becomes a file for --lora
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...configs.atomic import read_json_object, write_json, write_safetensors
from ...configs.errors import BadInput
from ...guidance.null_text import load_null_text, save_null_text
from ..models.base import Base
from ..models.precision import quiet_libraries
from .model import CARD
from .tasks import LoadNetwork

NETWORK = "network.safetensors"
LORA = {
    "r": 16,
    "lora_alpha": 16,
    # Convolutions too: where a finer level has no attention, it would never hear of the domain.
    "target_modules": ["conv1", "conv2", "to_k", "to_out.0", "to_q", "to_v"],
}
_OF_TEXT = ["add_k_proj", "add_q_proj", "add_v_proj", "to_add_out"]


def lora_settings(network: Any) -> dict[str, Any]:
    """``LORA`` for a network; where text and picture attend to each other in one, the text's side of it as well."""
    if getattr(network.config, "joint_attention_dim", None) is None:
        return LORA
    targets = [one for one in LORA["target_modules"] if not one.startswith("conv")]
    return LORA | {"target_modules": targets + _OF_TEXT}


@dataclass(frozen=True)
class Method:
    """One way.

    Attributes:
        told: what the network hears of each picture: "nothing", one "prompt", or its own "words".
        load: reads the network that a training starts from, or goes on from.
        write: (base, trained modules by part, folder, card) -> the folder to share.
        card: the name of its card in that folder.
    """

    told: str
    load: LoadNetwork
    write: Callable[[Base, Mapping[str, nn.Module], Path, dict[str, Any]], None]
    card: str


def save_network(network: Any, folder: Path, *, classes: int | None = None) -> None:
    """Write a copy of a base's own network, float32, to start from.

    Args: classes: for DiT, how many classes of its own it will have: their embeddings begin as that of no class.
    """
    with quiet_libraries():
        network = copy.deepcopy(network).to("cpu", torch.float32)
    if classes is not None:
        null = network.config.num_embeds_ada_norm
        for part in network.modules():
            if hasattr(part, "embedding_table"):
                rows = part.embedding_table.weight.detach()[null : null + 1].repeat(classes + 1, 1)
                part.embedding_table = nn.Embedding(*rows.shape, _weight=rows)
                part.num_classes = classes
        network.register_to_config(num_embeds_ada_norm=classes)
    folder.mkdir(parents=True, exist_ok=True)
    network.save_config(folder)
    write_safetensors(folder / NETWORK, network.state_dict())


def load_network(folder: Path) -> Any:
    """What ``save_network`` wrote, trainable; no label is ever dropped, as paper 2 asks."""
    import diffusers
    from safetensors.torch import load_file

    config = read_json_object(folder / "config.json", "the config of the network")
    with quiet_libraries():
        network: Any = getattr(diffusers, config["_class_name"]).from_config(config)
    network.load_state_dict(load_file(folder / NETWORK), strict=True)
    for part in network.modules():
        if hasattr(part, "embedding_table"):
            part.dropout_prob = 0.0
    return network.requires_grad_(True)


def load_with_lora(folder: Path) -> Any:
    """The frozen network with a fresh adapter, seeded; only the adapter can be trained."""
    from peft import LoraConfig

    network = load_network(folder).requires_grad_(False)
    torch.manual_seed(0)
    network.add_adapter(LoraConfig(**lora_settings(network)))
    return network


def _write_null_text(base: Base, modules: Mapping[str, nn.Module], out: Path, card: dict[str, Any]) -> None:
    save_null_text(modules["unet"], out, dtype=torch.float16)
    write_json(out / CARD, card)


def _write_model(base: Base, modules: Mapping[str, nn.Module], out: Path, card: dict[str, Any]) -> None:
    """A whole pipeline in diffusers' layout, float16, that any program reads."""
    part = base.family.network
    pipeline, own = base.pipeline, getattr(base.pipeline, part)
    names = card.get("classes")
    labels, config = getattr(pipeline, "labels", None), dict(pipeline.config)
    with quiet_libraries():
        trained = copy.deepcopy(modules[part]).to("cpu", torch.float16)
    try:
        pipeline.register_modules(**{part: trained})
        if names:
            pipeline.register_to_config(id2label={str(i): name for i, name in enumerate(names)})
        with quiet_libraries():
            pipeline.save_pretrained(out)
    finally:
        pipeline.register_modules(**{part: own})
        if names:
            pipeline.labels = labels
            pipeline.register_to_config(id2label=config.get("id2label"))
    write_json(out / "model.json", card)


def _write_lora(base: Base, modules: Mapping[str, nn.Module], out: Path, card: dict[str, Any]) -> None:
    """A file as diffusers writes them, float16."""
    from peft.utils.save_and_load import get_peft_model_state_dict

    part = base.family.network
    tensors = get_peft_model_state_dict(modules[part])
    settings = {f"{part}.{name}": value for name, value in lora_settings(modules[part]).items()}
    notes = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps(settings, sort_keys=True),
        "license": str(card.get("licence")),
    }
    out.mkdir(parents=True, exist_ok=True)
    named = {f"{part}.{name}": tensor.half() for name, tensor in tensors.items()}
    write_safetensors(out / "pytorch_lora_weights.safetensors", named, notes)
    write_json(out / "lora.json", card)


METHODS: dict[str, Method] = {
    "null-text": Method("nothing", load_null_text, _write_null_text, CARD),
    "full": Method("prompt", load_network, _write_model, "model.json"),
    "dog": Method("words", load_network, _write_model, "model.json"),
    "lora": Method("prompt", load_with_lora, _write_lora, "lora.json"),
}


def method_for(name: str | None, base: Base) -> str:
    """The method that is meant: null-text where a base has cross-attention over text to take out, lora where text and
    picture attend to each other in one, dog where it reads classes. BadInput for one that its family does not take.
    """
    from ...configs.names import unknown_name

    reads_text = base.family.reads == "text"
    name = name or ("null-text" if base.family.null_text else "lora" if reads_text else "dog")
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    if reads_text and not base.family.null_text and name == "null-text":
        raise BadInput(
            f"the base {base.name!r} has no cross-attention to take the text out of, so it has no null-text domains; "
            "choose --method lora or full, and give what it makes with --domain"
        )
    if not reads_text and name in ("null-text", "lora"):
        why = "reads classes and has no text to take out" if name == "null-text" else "takes no LoRA here"
        raise BadInput(f"the base {base.name!r} {why}; choose --method dog or full")
    return name
