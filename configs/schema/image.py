"""Settings of the stage 10-image."""

from __future__ import annotations

from dataclasses import dataclass

from .recipe import RecipeConfig
from .setting import setting


@dataclass(frozen=True)
class ImageConfig(RecipeConfig):
    """Stage 10-image: a prompt becomes one picture of the subject, guided into the domain."""

    steps: int = setting(25, "Denoising steps of the sampler.", at_least=1, at_most=1000)
    candidates: int = setting(4, "Pictures drawn; the best-ranked one goes on.", at_least=1, at_most=64)
    pick: int | None = setting(
        None,
        "Number of the candidate that goes on, from 0; null takes the best-ranked. A pick ranks none; lift.keep is 1.",
        at_least=0,
        added_later=True,
    )
    scheduler: str | None = setting(
        None, "Sampler: a name of guidance.schedulers.SCHEDULERS; null is what base and domain say."
    )
    view: str | None = setting(
        None, "View words added to the prompt; empty adds none, null is what base and domain say."
    )
    background: str | None = setting(
        None, "Background words added to the prompt; empty adds none, null is what base and domain say."
    )
    elevation_deg: float = setting(
        15.0, "Camera elevation of the picture above the horizon, in degrees.", at_least=-89, at_most=89
    )
    size: str | None = setting(
        None,
        "Pixels: 512 for a square, 512x768 for width and height; null is the model's own, or an edited picture's.",
        added_later=True,
    )
    control: list[str] = setting(
        [],
        "Spatial controls, KIND:PICTURE[:NETWORK][:SCALE][:OPTION=...], such as canny:edges.png:0.8:end=0.6.",
        added_later=True,
        files=True,
    )
    control_scale: float = setting(1.0, "Factor on all residuals of the controls.", added_later=True)
    control_start: float = setting(
        0.0,
        "Share of the sampler's steps before the controls are heard.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    control_end: float = setting(
        1.0,
        "Share of the sampler's steps after which the controls are heard no more.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    control_branches: str = setting(
        "text",
        "Which branches hear the controls: text is those of the prompt, all is every one that reads text.",
        choices=("text", "all"),
        added_later=True,
    )
    edit: str | None = setting(None, "Picture to start from (SDEdit).", added_later=True, files=True)
    strength: float = setting(
        0.6,
        "How much of the way back to noise an edited picture goes, above 0 to 1.",
        at_least=1e-6,
        at_most=1,
        added_later=True,
    )
    mask: str | None = setting(
        None, "Picture whose white parts are painted anew, black parts kept.", added_later=True, files=True
    )
    picture: list[str] = setting(
        [],
        "Pictures of yours, of one object, the front first: cut out and lifted instead of drawing one.",
        added_later=True,
        files=True,
    )
    matting: str | None = setting(
        None,
        "An ONNX file of U2-Net, IS-Net or BiRefNet, for pictures without transparency or a plain background.",
        added_later=True,
    )
    matting_kind: str = setting(
        "auto",
        "What the matting network is fed: auto goes by its input's size (320 is u2net), where that says enough.",
        choices=("auto", "u2net", "isnet", "birefnet"),
        added_later=True,
    )
