"""The image encoder that an IP-Adapter reads: CLIP's half that looks at pictures, found by what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ..images.files import read_rgb
from .precision import quiet_libraries
from .reading import explained, read_network


class Features(NamedTuple):
    """What an adapter reads of a picture: so many numbers, of one embedding (pooled) or of every hidden state."""

    width: int
    pooled: bool


def find_encoder(path: Path, wanted: Features, folders: list[Path]) -> Path:
    """The folder of the image encoder that goes with an adapter: the first whose config says that its features fit.

    Args:
        path: the adapter's file, for sentences.
        wanted: what it reads.
        folders: where one may lie.
    Raises: BadInput where none is, or none fits.
    """
    there = {folder: _told(folder, wanted.pooled) for folder in folders if (folder / "config.json").is_file()}
    fitting = [folder for folder, width in there.items() if width == wanted.width]
    if fitting:
        return fitting[0]
    what = "embedding" if wanted.pooled else "hidden states"
    other = "".join(f"; the one in {folder} gives {width}" for folder, width in there.items())
    raise BadInput(
        f"the IP-Adapter {path} needs an image encoder whose {what} have {wanted.width} numbers, a folder "
        f"image_encoder beside it or given by --image-encoder{other}"
    )


def _told(folder: Path, pooled: bool) -> int | None:
    """How many numbers an encoder says of a picture, by its config; None where it is none."""
    config = read_json_object(folder / "config.json", "the image encoder's config", allow_nan=True)
    config = config | config["vision_config"] if isinstance(config.get("vision_config"), dict) else config
    if not str(config.get("model_type", "")).startswith("clip"):
        return None
    # CLIP's own defaults, which configs leave out.
    return config.get("projection_dim", 512) if pooled else config.get("hidden_size", 768)


class ImageEncoder:
    """CLIP's half that looks at pictures, float32.

    Args:
        folder: as transformers writes a ``CLIPVisionModelWithProjection``.
        device: where it computes.
    Raises: BadInput for a folder that cannot be read, or whose weights are not whole.
    """

    def __init__(self, folder: Path, device: torch.device | str, *, allow_pickle: bool = False) -> None:
        from transformers import CLIPVisionModelWithProjection
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        what = "the image encoder"
        self.network = read_network(
            CLIPVisionModelWithProjection, folder, what, allow_pickle=allow_pickle
        ).to(device)
        side = self.network.config.image_size
        with quiet_libraries(), explained(folder, what):
            self.shown = CLIPImageProcessorPil(size=side, crop_size=side)

    @torch.no_grad()
    def features(self, picture: Path, *, pooled: bool) -> tuple[Tensor, Tensor]:
        """(of a picture, of none): the embedding [1, C], or the last hidden states but one [1, T, C]; on the CPU."""
        pixels = self.shown(read_rgb(picture), return_tensors="pt").pixel_values.to(self.network.device)
        if pooled:
            told = self.network(pixels).image_embeds.cpu()
            return told, torch.zeros_like(told)
        both = [self.network(one, output_hidden_states=True) for one in (pixels, torch.zeros_like(pixels))]
        seen, none = (one.hidden_states[-2].cpu() for one in both)
        return seen, none
