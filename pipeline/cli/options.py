"""Options that several commands share: one name, one type, one sentence each."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def option(sentence: str, *names: str, **more: Any) -> Any:
    """An option that says what it does and shows no default; without ``names`` it is called as its parameter."""
    return typer.Option(*names, help=sentence, show_default=False, **more)


Json = Annotated[bool, option("Print one JSON object on stdout, nothing else.", "--json")]
Debug = Annotated[bool, option("Show the traceback of an error.", "--debug")]
DryRun = Annotated[
    bool, option("Say what would run, with which models, for how long; make nothing.", "--dry-run")
]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings, such as refine.steps=100.", show_default=False),
]

Base = Annotated[str | None, option("The frozen prior: alias, hub id, folder or .safetensors checkpoint.")]
Vae = Annotated[str | None, option("Another autoencoder than the base's own: folder or .safetensors file.")]
Domain = Annotated[str | None, option("The domain: 'starter', a name, a folder, or none.")]
Model = Annotated[str | None, option("A custom model of the base: LoRA, checkpoint or domain.")]
Loras = Annotated[
    list[str] | None,
    option("A LoRA in the base, wherever it is asked; may be repeated.", "--lora", metavar="FILE[:STRENGTH]"),
]
LoraScale = Annotated[float | None, option("Strength of the LoRA that --model names.")]
Embeddings = Annotated[
    list[str] | None,
    option("A textual-inversion embedding; may be repeated.", "--embedding", metavar="FILE[:WORD]"),
]
ImagePrompts = Annotated[
    list[str] | None,
    option(
        "A picture seen beside the text (IP-Adapter); may be repeated.",
        "--image-prompt",
        metavar="PICTURE[:NETWORK][:SCALE]",
    ),
]
ImageEncoder = Annotated[
    str | None, option("Folder of the image encoder of --image-prompt; the one beside it if left out.")
]
DomainStrength = Annotated[float | None, option("Factor on the domain's weight; 0 is the base alone.")]
EmbeddedGuidance = Annotated[
    float | None, option("Guidance weight that a network is told which has guidance inside (LCM, Flux).")
]
Device = Annotated[str | None, option("auto (the quickest here), cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str | None, option("auto, float32, bfloat16 or float16.")]
LowMemory = Annotated[bool, option("Hold one network on the device at a time.", "--low-memory")]
AllowPickle = Annotated[
    bool, option("Read pickled checkpoints, where there are no others.", "--allow-pickle")
]
