"""Train a LoRA of the prior on porcelain with captions: a custom model as users have them, beside the domain.

Domain guidance (arxiv.org/abs/2504.01521) and rectification (arxiv.org/abs/2312.08195, section 4.5) speak of models
that somebody fine-tuned and that still read text. The captions name the object and never the paint, as class labels
would; the held-out nouns are not in its pictures either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from peft.utils.save_and_load import get_peft_model_state_dict
from torch import Tensor, nn

from ..guidance.training import draw_example
from ..systems.models.base import load_base
from ..systems.models.precision import quiet_libraries
from ..systems.training.loop import Budget, began_elsewhere, outcome, train
from .batches import open_pictures
from .train_prior import NOISE_SHIFT

LORA = LoraConfig(
    r=16,
    lora_alpha=16,
    # The finer level of the prior is all convolutions, and paint is made there: attentions alone would not reach it.
    target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"],
)


@dataclass
class LoraTask:
    """Denoising of captioned pictures by the prior with a LoRA, the rest of it frozen; see ``training.Task``."""

    shards: Path
    prior: Path

    def modules(self) -> dict[str, nn.Module]:
        """The prior's UNet with a fresh adapter, seeded; only the adapter can be trained."""
        torch.manual_seed(0)
        with quiet_libraries():
            unet: Any = UNet2DConditionModel.from_pretrained(self.prior / "unet", torch_dtype=torch.float32)
        unet.requires_grad_(False)
        unet.add_adapter(LORA)
        return {"unet": unet}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open pictures, codec and text encoder in this process."""
        self._unet: Any = modules["unet"]
        self._unet.set_attn_processor(AttnProcessor())
        self._device = device
        self._pictures = open_pictures(self.shards, device, materials=False)
        self._base = load_base(self.prior, device=device)

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of v, which the prior predicts, at shifted noise levels."""
        pictures, captions = self._pictures.draw(batch, generator)
        latents, prior = self._base.encode(pictures.to(self._device) / 2 + 0.5), self._base.predictor
        example = draw_example(latents, prior.schedule, prior.prediction_type, generator, shift=NOISE_SHIFT)
        noisy = example.x.to(self._unet.dtype, memory_format=torch.channels_last)
        text = self._base.encode_text(captions).to(self._unet.dtype)
        return example.loss(self._unet(noisy, example.t, text).sample)


def train_lora(shards: Path, prior: Path, work: Path, out: Path, budget: Budget) -> dict[str, Any]:
    """Train (or go on training) and write a folder that ``load_lora_weights`` reads, float16; its card is returned.

    A LoRA belongs to its prior: other weights there make a new start.
    """
    base = load_base(prior, name="starter")
    began_elsewhere(work, base.network_identity)
    unet: Any = train(LoraTask(shards, prior), work, budget, label="porcelain lora")["unet"]
    weights = {name: value.half().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(
        out, dict(weights), unet_lora_adapter_metadata=LORA.to_dict(), safe_serialization=True
    )
    card = {
        "kind": "lora",
        "base": base.name,
        "base_identity": base.network_identity,
        "licence": "Apache-2.0",
        "training": outcome(work, budget),
    }
    (out / "lora.json").write_text(json.dumps(card, indent=2) + "\n")
    return card
