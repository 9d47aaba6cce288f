"""Another autoencoder in the place of a base's own (``--vae``): a folder of diffusers, or a file in either layout.

People give one whose decoder paints better; the latents are still those that the base's network was trained on, with
the base's own shift and scale.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.names import shown_key
from .aliases import resolve
from .precision import quiet_libraries
from .reading import explained, read_network
from .single_file.checkpoint import loaded
from .single_file.configs import vae_config
from .single_file.header import read_header, refusal
from .single_file.original import VAE
from .single_file.weights import Weight, vae_weights

_SCALE = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
_NO_USE = re.compile(r"(loss|model_ema)\..*")


def read_vae(name: str, own: Any, *, allow_pickle: bool = False) -> tuple[Any, Path]:
    """(an ``AutoencoderKL``, frozen and float32, where it was read from).

    Args:
        name: a file, a folder with an autoencoder, a folder of a whole model, or an alias or hub id of one.
        own: the base's, whose latents it has to have.
    Raises: BadInput when it is no autoencoder, incomplete, or of other latents.
    """
    where = resolve(name, allow_pickle=allow_pickle)
    found = _of_file(where, own) if where.is_file() else _of_folder(where, allow_pickle)
    for key, what in (("latent_channels", "numbers a latent"), ("block_out_channels", "levels")):
        mine, theirs = (vae.config.get(key) for vae in (own, found))
        mine, theirs = (len(one) if isinstance(one, list | tuple) else one for one in (mine, theirs))
        if mine != theirs:
            raise BadInput(
                f"the autoencoder {name} has {theirs} {what}, and the base's own has {mine}; "
                "give one that was made for such a base"
            )
    scale = {key: own.config.get(key) for key in _SCALE}
    told = {key: found.config.get(key) for key in _SCALE}
    if not where.is_file() and told != scale:
        raise BadInput(
            f"the autoencoder {name} scales its latents otherwise than the base's own "
            f"({told['scaling_factor']}, not {scale['scaling_factor']}); give one that was made for such a base"
        )
    found.register_to_config(**scale)
    return found, where


def _of_folder(folder: Path, allow_pickle: bool) -> Any:
    from diffusers import AutoencoderKL

    place = folder if (folder / "config.json").is_file() else folder / "vae"
    kind = read_json_object(place / "config.json", "the autoencoder's config", allow_nan=True).get(
        "_class_name"
    )
    if kind != "AutoencoderKL":
        raise BadInput(
            f"{place} is a {shown_key(str(kind))}, not an AutoencoderKL; give one of these with --vae"
        )
    return read_network(AutoencoderKL, place, "the autoencoder", allow_pickle=allow_pickle)


def _of_file(path: Path, own: Any) -> Any:
    from diffusers import AutoencoderKL

    header = read_header(path, "the autoencoder")
    prefix = VAE if header.under(VAE) else ""
    shapes = header.under(prefix)
    with explained(path, "the autoencoder"), quiet_libraries(), safe_open(path, framework="pt") as file:
        if any(name.startswith("encoder.down_blocks.") for name in shapes):
            weights = {name: Weight(name, shape) for name, shape in shapes.items()}
            network = AutoencoderKL.from_config(own.config)
        elif "encoder.conv_in.weight" in shapes and "decoder.conv_in.weight" in shapes:
            weights = vae_weights(header, prefix)
            network = AutoencoderKL(**vae_config(shapes, scaling_factor=1.0, sample_size=8))
            read = {weight.key for weight in weights.values()}
            odd = [name for name in shapes if prefix + name not in read and not _NO_USE.fullmatch(name)]
            if odd:
                raise BadInput(
                    f"{len(odd)} weights of the autoencoder {path} belong to nothing in it, such as "
                    f"{shown_key(odd[0])}; fetch it again"
                )
        else:
            raise refusal(header)
        return loaded(network, weights, file, path)
