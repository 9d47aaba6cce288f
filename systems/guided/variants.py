"""A model that somebody made of a base: a LoRA, a full checkpoint, or a domain; each becomes a branch beside it.

Nothing is loaded twice: a LoRA lives in the base's own network and is switched on for its branch alone, and a full
checkpoint brings its network and shares whatever else has the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...guidance.conditioning import Condition
from ...guidance.predictors import ConditionalDenoiser, NoisePredictor
from ..domain.model import CARD, Domain, load_domain, read_card, refuse_another_base
from ..domain.places import card_path
from ..models.aliases import resolve
from ..models.base import Base, load_base
from ..models.single_file.checkpoint import is_checkpoint
from .lora import lora_files, lora_identity, with_loras


@dataclass(frozen=True)
class TextFree:
    """A domain in the place of a model: told the same whatever the prompt."""

    domain: Domain

    @property
    def name(self) -> str:
        return self.domain.name

    @property
    def identity(self) -> str:
        return self.domain.identity

    @property
    def predictor(self) -> NoisePredictor:
        """The domain's."""
        return self.domain.predictor

    def condition(self, prompts: Sequence[str], *, size: int | tuple[int, int] | None = None) -> Condition:
        """The domain's own."""
        return self.domain.condition


def load_custom(
    path: str,
    base: Base,
    *,
    scale: float = 1.0,
    allow_pickle: bool = False,
    notice: Callable[[str], None] = lambda sentence: None,
) -> ConditionalDenoiser:
    """Read a model made of ``base``.

    Args:
        path: a LoRA (a .safetensors file, or a folder as diffusers and PEFT write it), a checkpoint (a .safetensors
            file, told apart by its names; a folder or hub id in diffusers' layout), or a domain's folder.
        scale: strength of a LoRA.
        notice: told which part of a LoRA matches nothing.
    Raises: BadInput when it is none of these or belongs to another base, or is unreadable.
    """
    where = resolve(path, allow_pickle=allow_pickle)
    device = str(base.predictor.network.device) if base.offload is None else base.offload.device
    if (where / CARD).is_file():
        return TextFree(load_domain(where, base, device=device))
    if (files := lora_files(where)) and not is_checkpoint(files[0]):
        adapted = with_loras(base, [(where, scale)], notice, name=files[0].stem)
        return replace(adapted, name=files[0].stem, identity=lora_identity(where))
    model = load_base(
        where,
        name=path,
        device=device,
        dtype=str(base.dtype).removeprefix("torch."),
        allow_pickle=allow_pickle,
        like=base,
        offload=base.offload,
    )
    if model.predictor.latent_space != base.predictor.latent_space:
        raise BadInput(
            f"{path} has another autoencoder than the base {base.name!r}, so their predictions cannot be added; "
            "give a model made of that base"
        )
    return replace(model, embedded_guidance=base.embedded_guidance)


def load_any_domain(
    folder: Path,
    base: Base,
    *,
    allow_pickle: bool = False,
    notice: Callable[[str], None] = lambda sentence: None,
) -> Domain:
    """A domain that was learned by any method: a null-text one, or a model or LoRA that hears its own words alone.

    Bases without cross-attention over text have only the second kind.

    Raises: BadInput when the folder holds neither, or one of another base.
    """
    if card_path(folder).name == CARD:
        device = str(base.predictor.network.device) if base.offload is None else base.offload.device
        return load_domain(folder, base, device=device)
    card = read_card(folder)
    refuse_another_base(card, base)
    model: Any = load_custom(str(folder), base, allow_pickle=allow_pickle, notice=notice)
    recipe = card.get("recipe")
    learned = recipe if isinstance(recipe, dict) else {}
    words = "" if learned.get("method") == "dog" else str(learned.get("prompt") or "")
    return Domain(
        card["name"], card, model.predictor.network, model.predictor, model.condition([words]), model.identity
    )
