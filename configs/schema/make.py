"""All settings of a run: the models, and each stage's."""

from __future__ import annotations

from dataclasses import dataclass, field

from .export import ExportConfig
from .image import ImageConfig
from .lift import LiftConfig
from .mesh import MeshConfig
from .paint import PaintConfig
from .refine import RefineConfig
from .setting import setting


@dataclass(frozen=True)
class MakeConfig:
    """Everything that ``slipcast make`` reads beside the prompt and the seed."""

    base: str = setting(
        "starter",
        "Text-to-image model: an alias, a hub id, a folder in diffusers' layout or a .safetensors checkpoint.",
    )
    vae: str | None = setting(
        None, "Another autoencoder in the place of the base's own: a folder or a .safetensors file."
    )
    domain: str | None = setting(
        None,
        "Domain model: starter, or a folder that was learned; none for none, null for the base's own if it has one.",
    )
    lift_model: str = setting(
        "starter",
        "Image-to-3D model: starter, a folder of its kind, shap-e, triposr, mesh (yours), command, blob, or a plug-in.",
    )
    domain_strength: float = setting(
        1.0, "Factor on the domain's weight in picture and refinement; 0 is the base alone.", at_least=0
    )
    model: str | None = setting(
        None, "A custom model of the base, for recipes that take one: LoRA, checkpoint or domain."
    )
    lora_scale: float = setting(1.0, "Strength of a LoRA given as model.")
    loras: list[str] = setting(
        [],
        "LoRAs in the base itself, whatever the recipe, each FILE or FILE:strength, such as [style.safetensors:0.8].",
    )
    embeddings: list[str] = setting(
        [], "Textual-inversion embeddings, each FILE or FILE:word, such as ['cat.safetensors:<cat>']."
    )
    image_prompt: list[str] = setting(
        [],
        "Pictures that the prompt's branches see beside the text (IP-Adapter), each PICTURE[:NETWORK][:SCALE].",
        added_later=True,
    )
    image_encoder: str | None = setting(
        None,
        "Folder of the image encoder of image_prompt; null is the one beside the adapter.",
        added_later=True,
    )
    embedded_guidance: float | None = setting(
        None,
        "Guidance weight that a network with guidance inside is told; null is 8.5 for LCM and 3.5 for Flux.",
        added_later=True,
    )
    dtype: str = setting(
        "auto",
        "What the networks compute in; auto is bfloat16 where the hardware multiplies it; runs keep theirs.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    device: str = setting(
        "auto",
        "Where the networks compute: auto, cpu, cuda, cuda:N or mps; auto is the quickest here; runs keep theirs.",
    )
    image: ImageConfig = field(default_factory=ImageConfig)
    lift: LiftConfig = field(default_factory=LiftConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    paint: PaintConfig = field(default_factory=PaintConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
