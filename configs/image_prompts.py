"""``PICTURE[:NETWORK][:SCALE]``, as image prompts are written, and back again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .controls import colon_parts, with_scale
from .errors import BadInput
from .paths import given_path


@dataclass(frozen=True)
class ImagePromptText:
    """One image prompt as it is written.

    Attributes:
        picture: path of the picture.
        network: alias, hub id, file or folder of the IP-Adapter; empty for the usual one.
        scale: weight of the picture beside the text.
    """

    picture: str
    network: str = ""
    scale: float = 1.0

    def __str__(self) -> str:
        parts = [self.picture, self.network, "" if self.scale == 1 else f"{self.scale!r}"]
        return ":".join(part for part in parts if part)


def image_prompt_text(text: str) -> ImagePromptText:
    """``cup.png:adapter.safetensors:0.6`` -> ImagePromptText("cup.png", "adapter.safetensors", 0.6).

    Colons of drives, and those of a picture that is there under the whole text, are read as ``control_text`` does.

    Raises: BadInput for a text without a picture, with too many parts, or with a scale that is not finite.
    """
    whole = bool(text) and given_path(text, "--image-prompt").is_file()
    (picture, *more), scale = with_scale([text] if whole else colon_parts(text))
    if not picture or len(more) > 1 or not math.isfinite(scale):
        raise BadInput(
            "--image-prompt expects a picture, such as cup.png, and perhaps a network and a scale behind it, such as "
            f"cup.png:ip-adapter_sd15.safetensors:0.6, not {text!r}"
        )
    return ImagePromptText(picture, more[0] if more else "", scale)
