"""What models that are known by name cost before they are here: bytes to fetch, and operations of one call.

Counted by ``python -m benchmarks.model_costs`` on networks without numbers, built from the models' public configs;
those that it does not build (adapters, ONNX files) are the hub's own sizes, rounded. Time and memory of a run that
nobody has made yet follow from them (``pipeline.run.operations``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of one model.

    Attributes:
        megabytes: about what ``slipcast fetch`` downloads: float16 weights where the hub has them.
        parameters_m: millions of parameters of all its networks, text encoders and autoencoder included.
        denoiser_m: of the one that denoises, which alone is held in the run's precision; all others are float32.
        call: billions of operations (a multiplication and an addition are two) of one answer of the network that
            denoises, for one picture at the model's own size.
        encode: the same of the autoencoder's encoder, and decode of its decoder.
    """

    megabytes: int
    parameters_m: float = 0.0
    denoiser_m: float = 0.0
    call: float = 0.0
    encode: float = 0.0
    decode: float = 0.0


COSTS: dict[str, Cost] = {
    "sd15": Cost(2132, 1066.2, 859.5, 803.3, 1116.7, 2514.5),
    "sd21": Cost(2580, 1290.0, 865.9, 2149.1, 2609.1, 5754.3),
    "sd21-base": Cost(2580, 1290.0, 865.9, 804.3, 1116.7, 2514.5),
    "sdxl": Cost(6938, 3468.8, 2567.5, 6761.2, 4879.0, 10470.4),
    "sd3": Cost(15386, 7692.8, 2028.3, 8904.3, 4882.6, 10472.2),
    "sd35": Cost(15815, 7907.7, 2243.2, 11249.6, 4882.6, 10472.2),
    **dict.fromkeys(("flux-dev", "flux-schnell"), Cost(33741, 16870.6, 11901.4, 74384.7, 4882.6, 10472.2)),
    "taesd": Cost(10, 2.4),
    "shap-e": Cost(1691, 845.4, 0.0, 942.9),
    "triposr": Cost(1677, 419.0),
    **dict.fromkeys(
        (
            "canny", "depth", "normal", "lineart", "softedge", "scribble", "openpose", "seg", "tile", "ip2p",
        ),
        Cost(723, 361.3),
    ),
    "dit-256": Cost(3334, 833.5, 749.8, 237.3, 272.7, 622.2),
    "ip-adapter": Cost(2573),
    "ip-adapter-plus": Cost(2626),
    "ip-adapter-sdxl": Cost(3227),
    "ip-adapter-plus-sdxl": Cost(3377),
    "depth-anything": Cost(99),
    "u2net": Cost(176),
    "isnet": Cost(179),
    "birefnet": Cost(973),
}  # fmt: skip
"""By the names of ``known.ALIASES``."""


def bytes_to_fetch(name: str) -> int | None:
    """About; None for a model that is not in the table."""
    return COSTS[name].megabytes * 10**6 if name in COSTS else None
