"""Textual inversion (arxiv.org/abs/2208.01618): new words of a text encoder, learned by others, added to a base.

A word is one or several vectors in the table of an encoder's tokens. Read are safetensors of the web UI
(``emb_params`` [N, C]), of diffusers (one tensor named after its word) and of SDXL (``clip_l`` and ``clip_g``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...configs.errors import BadInput, in_one_line
from ...configs.paths import given_path
from ..models.base import Base
from ..models.precision import quiet_libraries
from ..models.weight_files import PICKLES
from .lora_families import family_of_base, family_of_width

_OF_SDXL = ("clip_l", "clip_g")
_WEB_UI = "emb_params"


def file_and_token(text: str) -> tuple[Path, str | None]:
    """``cat.safetensors:<cat>`` -> (its path, "<cat>"); None where no word is given. BadInput where no such file is."""
    path = given_path(text, "--embedding")
    if path.is_file():
        return path, None
    name, colon, token = text.rpartition(":")
    if colon and name and (path := given_path(name, "--embedding")).is_file():
        return path, token
    raise BadInput(f"there is no file {text}; --embedding expects FILE or FILE:word, a .safetensors file")


def add_embedding(base: Base, path: Path, token: str | None = None) -> str:
    """Teach a base's text encoders a word, and return it.

    Args:
        token: the word; by default the name of the tensor (diffusers) or of the file (web UI, SDXL).
    Raises:
        BadInput: a pickle, a file that cannot be read, no embedding, one of another family, or a word that cannot be
            one.
    """
    vectors, own = _read(path)
    token = token or own
    pipe = base.pipeline
    if not base.reads_weights:
        raise BadInput(
            f"the base {base.name!r} ({family_of_base(base)}) reads {_reads(base)}, so it cannot learn the word of "
            f"{path}; embeddings are for Stable Diffusion 1 and 2 and SDXL"
        )
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    if hasattr(pipe, "text_encoder_2"):
        encoders.append((pipe.tokenizer_2, pipe.text_encoder_2))
    _refuse_another_family(path, vectors, base, [encoder.config.hidden_size for _, encoder in encoders])
    if not token or re.search(r"[\s()\[\]\\:,]", token):
        raise BadInput(
            f"{token!r} is no word that a prompt can hold; give the embedding another: --embedding {path}:WORD"
        )
    for tokenizer, _ in encoders:
        room = tokenizer.model_max_length - 2
        if len(vectors[0]) > room:
            raise BadInput(
                f"{path} is a word of {len(vectors[0])} vectors, of which {room} can be read at most"
            )
        if token in tokenizer.get_vocab():
            raise BadInput(
                f"the base {base.name!r} knows the word {token!r} already; give the embedding another: "
                f"--embedding {path}:WORD"
            )
    for (tokenizer, encoder), one in zip(encoders, vectors, strict=True):
        _learn(tokenizer, encoder, token, one)
    return token


def _learn(tokenizer: Any, encoder: Any, token: str, vectors: Tensor) -> None:
    # Further vectors are called as diffusers calls them; ``families.clip`` puts them behind the first.
    names = [token, *(f"{token}_{i}" for i in range(1, len(vectors)))]
    tokenizer.add_tokens(names)
    with quiet_libraries():
        size = max(len(tokenizer), encoder.get_input_embeddings().num_embeddings)
        encoder.resize_token_embeddings(size, mean_resizing=False)
    table = encoder.get_input_embeddings().weight.requires_grad_(False)
    table[tokenizer.convert_tokens_to_ids(names)] = vectors.to(table)


def _read(path: Path) -> tuple[list[Tensor], str]:
    """The vectors [N, C] for each encoder, and the word that goes with them."""
    if path.suffix.lower() in PICKLES:
        raise BadInput(
            f"{path} is a pickle, which can run code when it is read; give the embedding as safetensors, in the web "
            f"UI's form one tensor {_WEB_UI}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{path} cannot be read as an embedding ({in_one_line(error)}); get it again"
        ) from error
    if set(tensors) == set(_OF_SDXL):
        found, word = [tensors[name] for name in _OF_SDXL], path.stem
    elif _WEB_UI in tensors or len(tensors) == 1:
        name = _WEB_UI if _WEB_UI in tensors else next(iter(tensors))
        found, word = [tensors[name]], path.stem if name == _WEB_UI else name
    else:
        found, word = [], ""
    vectors = [one[None] if one.ndim == 1 else one for one in found]
    if not vectors or any(one.ndim != 2 or not len(one) or len(one) != len(vectors[0]) for one in vectors):
        raise BadInput(
            f"{path} holds no embedding: expected {_WEB_UI}, {' and '.join(_OF_SDXL)}, or one tensor of vectors, "
            f"not {', '.join(sorted(tensors)[:3]) or 'nothing'}"
        )
    if not all(bool(one.isfinite().all()) for one in vectors):
        raise BadInput(f"{path} holds NaN or infinity; get the file again")
    return vectors, word


def _refuse_another_family(path: Path, vectors: list[Tensor], base: Base, wanted: list[int]) -> None:
    given = [one.shape[1] for one in vectors]
    if given != wanted:
        theirs = family_of_width(2048 if len(given) == 2 else given[0])
        raise BadInput(
            f"{path} is an embedding for {theirs} ({_numbers(given)}), and the base {base.name!r} is "
            f"{family_of_base(base)} ({_numbers(wanted)}); give one made for that base"
        )


def _numbers(widths: list[int]) -> str:
    return " and ".join(map(str, widths)) + " numbers a vector"


def _reads(base: Base) -> str:
    if base.family.reads == "classes":
        return "classes"
    return "prompts in words alone" if base.spells_words else "a list of whole words"
