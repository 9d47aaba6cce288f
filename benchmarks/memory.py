"""Peak memory of in-domain sampling with Stable Diffusion 1.5 at 512 pixels, counted on tensors without numbers.

python -m benchmarks.memory [--out benchmarks/results]

The real networks run on fake tensors, and a dispatch mode adds up the storages that are alive: weights exactly, and
activations as eager PyTorch keeps them, with fused attention. Workspaces of convolution libraries and the CUDA context
come on top.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from slipcast.guidance.null_text import make_null_text

from .machine import report

GB = 10**9


class Peak(TorchDispatchMode):
    """Most bytes alive at one time among the tensors that are made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._count, out)
        return out

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.alive:
            self.alive[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, storage._cdata, None)
            self.most = max(self.most, sum(self.alive.values()))


def activations(forward: Callable[[], Any]) -> float:
    """Peak of what one forward allocates, GB."""
    with torch.no_grad(), Peak() as peak:
        forward()
    return peak.most / GB


def weights(network: torch.nn.Module) -> float:
    """Parameters and buffers, GB."""
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / GB


def networks() -> dict[str, Any]:
    """Stable Diffusion 1.5's networks as slipcast holds them: UNets in half precision, text and pictures in single."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes: dict[str, Any] = {  # diffusers annotates the types of its defaults
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(layers_per_block=2, **sizes)
    text = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        unet: Any = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
    finally:
        torch.set_default_dtype(torch.float32)
    found: dict[str, Any] = {"unet": unet, "text_encoder": text, "vae": vae}
    return {name: part.requires_grad_(False).eval() for name, part in found.items()}


def main() -> None:
    """Count and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with torch.device("meta"):
        parts = networks()
        widths = {n: m.attn2.out_dim for n, m in parts["unet"].named_modules() if hasattr(m, "attn2")}
        domain = make_null_text(parts["unet"], {name: torch.zeros(1, 1, w) for name, w in widths.items()})
        held = {name: weights(network) for name, network in {**parts, "domain": domain}.items()}
    with FakeTensorMode():  # unlike the meta device, it keeps attention fused
        parts = networks()
        rows, told = (torch.empty(2, *shape, dtype=torch.bfloat16) for shape in ((4, 64, 64), (77, 768)))
        timesteps = torch.tensor([500, 500])
        working = {
            "unet": activations(lambda: parts["unet"](rows, timesteps, told)),
            "vae": activations(lambda: parts["vae"].decode(torch.empty(1, 4, 64, 64))),
        }
    figures = {
        "weights_gb": {name: round(value, 3) for name, value in held.items()},
        "activations_gb": {name: round(value, 3) for name, value in working.items()},
        "peak_gb": round(sum(held.values()) + max(working.values()), 2),
        "peak_low_memory_gb": round(max(held[name] + value for name, value in working.items()), 2),
    }
    report("memory", figures, given.out)


if __name__ == "__main__":
    main()
