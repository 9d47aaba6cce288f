"""The six methods of paper 1's Table 1 (arxiv.org/abs/2312.08195), as data: what of the base learns, and how fast.

textual-inversion   the embedding of one new word (arxiv.org/abs/2208.01618)
custom-diffusion    the cross-attentions and a new word (arxiv.org/abs/2212.04488)
oft                 orthogonal turns of every attention's weights (arxiv.org/abs/2306.07280)
full                the whole network
lora                low-rank additions to the cross-attentions' keys and values (arxiv.org/abs/2106.09685)
null-text           ours: the network without its text, from pictures alone

Paper 2 (arxiv.org/abs/2504.01521) guides what was trained with words or classes of each picture:

words               the whole network, under each picture's own words or class
words-lora          low-rank additions that reach every layer, under each picture's own words

The paper prints how many parameters each trains, and that tells which settings it used: 44M for Custom Diffusion are
the whole cross-attentions (keys and values alone would be 19M; diffusers calls this mode ``crossattn``), 0.19M for LoRA
are rank 4 on keys and values, 23M for OFT are four blocks on every attention. PEFT keeps an orthogonal block of d x d
as the d (d - 1) / 2 numbers of the skew-symmetric matrix that it comes from, so that its OFT counts a little less than
half of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...configs.names import unknown_name
from ..domain.methods import lora_settings

OURS = "null-text"
RANK, BLOCKS = 4, 4
_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass(frozen=True)
class Baseline:
    """One method.

    Attributes:
        adapt: makes a frozen network ready: afterwards only what it trains requires a gradient. None where there is no
            network of text to adapt (``null-text``).
        token: whether a new word learns.
        words: whether each picture's own words are told, instead of one prompt.
        rate: its learning rate for Stable Diffusion; paper 1 says 1e-5 of all, which moves adapters nowhere, so that
            those have the rates of diffusers' own training scripts.
        quick_rate: for priors of the starter's kind.
        optimizer: there; small matrices that are no weights of a layer are AdamW's.
    """

    adapt: Callable[[Any], None] | None
    token: bool = False
    words: bool = False
    rate: float = 1e-5
    quick_rate: float = 4e-4
    optimizer: str = "muon"


def _nothing(network: Any) -> None:
    """The network stays as it is."""


def _everything(network: Any) -> None:
    network.requires_grad_(True)


def _cross_attentions(network: Any) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".attn2." in name)


def _lora(network: Any) -> None:
    from peft import LoraConfig

    network.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=r".*attn2\.(to_k|to_v)"))


def _wide_lora(network: Any) -> None:
    from peft import LoraConfig

    network.add_adapter(LoraConfig(**lora_settings(network)))


def _oft(network: Any) -> None:
    from peft import OFTConfig

    network.add_adapter(OFTConfig(r=BLOCKS, oft_block_size=0, target_modules=_ATTENTION))


BASELINES: dict[str, Baseline] = {
    "textual-inversion": Baseline(_nothing, token=True, rate=5e-4, quick_rate=5e-3, optimizer="adamw"),
    "custom-diffusion": Baseline(_cross_attentions, token=True),
    "oft": Baseline(_oft, rate=1e-4, quick_rate=1e-3, optimizer="adamw"),
    "full": Baseline(_everything),
    "lora": Baseline(_lora, rate=1e-4, quick_rate=2e-3),
    OURS: Baseline(None),
}
"""In the order of the paper's table."""

WITH_WORDS: dict[str, Baseline] = {
    "words": Baseline(_everything, words=True),
    "words-lora": Baseline(_wide_lora, words=True, rate=1e-4, quick_rate=2e-3),
}
"""What paper 2 guides."""


def baseline_named(name: str) -> Baseline:
    """An entry of the table. BadInput with the nearest name otherwise."""
    known = BASELINES | WITH_WORDS
    if name not in known:
        raise unknown_name("method", name, known)
    return known[name]


def trained_parameters(*modules: nn.Module) -> int:
    """How many numbers a training moves."""
    return sum(one.numel() for module in modules for one in module.parameters() if one.requires_grad)
