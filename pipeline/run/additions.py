"""What settings put into a base or beside it: LoRAs, embeddings, image prompts, ControlNets, matting; found and named.

Nothing is loaded here: ``models.ModelStore`` loads them, and manifests, keys and dry runs ask what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput
from ...configs.schema import ExtraCondition, MakeConfig
from ...configs.schema.paint import NO_CONTROL

if TYPE_CHECKING:
    from ...systems.guided.image_prompts import Found

ADDED = ("loras", "embeddings", "image_prompt")
"""Settings that are lists of files, told as one model each; roles with a dot name settings of a stage."""


@dataclass(frozen=True)
class Additions:
    """The additions of one configuration.

    Attributes:
        base: says where the base lies, which knows the adapter and the encoder of image prompts that name none.
    """

    config: MakeConfig
    base: Callable[[], Path]
    allow_pickle: bool = False

    @cached_property
    def loras(self) -> list[tuple[str, Path, float]]:
        """(as it was written, where it lies, strength) of every LoRA. BadInput for one that is not there."""
        from ...configs.strengths import path_and_strength
        from ...systems.guided.lora import lora_files
        from ...systems.models.aliases import resolve

        found = []
        for text in self.config.loras:
            name, strength = path_and_strength(text, "--lora")
            where = resolve(name)
            if not lora_files(where):
                raise BadInput(
                    f"--lora {name} is no LoRA: expected a .safetensors file, or a folder with one as diffusers and "
                    "PEFT write it"
                )
            found.append((name, where, strength))
        return found

    @cached_property
    def embeddings(self) -> list[tuple[Path, str | None]]:
        """(file, its word, or None for the file's own) of every embedding."""
        from ...systems.guided.embeddings import file_and_token

        return [file_and_token(text) for text in self.config.embeddings]

    @cached_property
    def image_prompts(self) -> dict[str, Found]:
        """{as it was written: its files} of every image prompt of all."""
        return {text: self._found(text) for text in self.config.image_prompt}

    @property
    def encoder(self) -> dict[str, Any]:
        """How image prompts find their encoder: options of ``systems.guided.image_prompts``."""
        return {"encoder": self.config.image_encoder, "allow_pickle": self.allow_pickle}

    def _found(self, text: str) -> Found:
        from ...systems.guided.image_prompts import find_image_prompt

        return find_image_prompt(text, self.base(), **self.encoder)

    @property
    def hashes(self) -> dict[str, str]:
        """{"lora FILE:strength": hash of its files}, {"embedding FILE": hash} and {"image prompt TEXT": hash}."""
        from ...systems.guided.lora import lora_identity
        from ...systems.models.identity import sha256_once

        told = {f"lora {name}:{strength!r}": lora_identity(where) for name, where, strength in self.loras}
        told |= {f"embedding {path}": sha256_once(path) for path, _ in self.embeddings}
        return told | {f"image prompt {text}": one.identity for text, one in self.image_prompts.items()}

    @cached_property
    def places(self) -> dict[str, list[Path]]:
        """Where the files lie of those that ``told`` told of, by the same names."""
        return {}

    def told(self, role: str) -> dict[str, dict[str, Any]]:
        """{role, or role and name: {id, revision, licence}} of the additions that a setting names; empty for none."""
        if role not in ADDED:
            return self._beside(role)
        if not getattr(self.config, role):
            return {}
        return {
            role: {"loras": self._loras, "embeddings": self._embeddings, "image_prompt": self._images}[role]()
        }

    def _loras(self) -> dict[str, Any]:
        """All of them as one model: strengths are a part of what they are."""
        from ...systems.guided.lora import lora_identity, lora_licence

        self.places["loras"] = [where for _, where, _ in self.loras]
        return {
            "id": " + ".join(f"{name}:{strength!r}" for name, _, strength in self.loras),
            "revision": " + ".join(f"{lora_identity(where)}:{s!r}" for _, where, s in self.loras),
            "licence": " + ".join(dict.fromkeys(lora_licence(where) for _, where, _ in self.loras)),
        }

    def _embeddings(self) -> dict[str, Any]:
        from ...systems.models.identity import sha256_once

        self.places["embeddings"] = [path for path, _ in self.embeddings]
        return {
            "id": " + ".join(self.config.embeddings),
            "revision": " + ".join(sha256_once(path) for path, _ in self.embeddings),
            "licence": "unknown",
        }

    def _images(self) -> dict[str, Any]:
        found = self.image_prompts
        self.places["image_prompt"] = _files(found.values())
        return {
            "id": " + ".join(found),
            "revision": " + ".join(one.identity for one in found.values()),
            "licence": " + ".join(dict.fromkeys(one.licence for one in found.values())),
        }

    def _beside(self, role: str) -> dict[str, dict[str, Any]]:
        """{role and name: identity} of what a stage's setting names: ControlNets, conditions' models and the like."""
        from ...systems.models.aliases import resolve
        from ...systems.models.identity import model_identity
        from ...systems.models.known import ALIASES, WEIGHTS

        told = {}
        for name, wanted in self.networks(role).items():
            place = resolve(wanted, allow_pickle=self.allow_pickle)
            self.places[name] = [place]
            licence = ALIASES[wanted].licence if wanted in ALIASES else "unknown"
            shipped = wanted.startswith(str(WEIGHTS))
            told[name] = {
                "id": f"{self.config.base} {place.name}" if shipped else wanted,
                "revision": model_identity(place),
                "licence": "Apache-2.0" if shipped else licence,
            }
        for owner, one in self._conditions(role).items():
            for text in one.image_prompt:
                found = self._found(text)
                self.places[f"{owner} {text}"] = _files([found])
                told[f"{owner} {text}"] = {"id": text, "revision": found.identity, "licence": found.licence}
        return told

    def _conditions(self, role: str) -> dict[str, ExtraCondition]:
        group, _, setting = role.partition(".")
        conditions = getattr(self.config, group).conditions if setting == "conditions" else {}
        return {f"{role} {name}": one for name, one in conditions.items()}

    def networks(self, role: str) -> dict[str, str]:
        """{role and name: alias, hub id or path} of single networks."""
        from ...systems.models.controlnet import parted, usual_network
        from ...systems.models.known import WEIGHTS

        group, _, setting = role.partition(".")
        value, base = getattr(getattr(self.config, group), setting), self.config.base
        named: dict[str, str] = {}
        if (setting == "matting" and value) or (setting == "encoder" and value != "full"):
            named[role] = value
        if role == "paint.control" and value and value != NO_CONTROL and self.config.paint.steps:
            named[role] = usual_network(value, base)
        controls = {role: value} if role == "image.control" else {}
        for owner, condition in self._conditions(role).items():
            controls[owner] = condition.control
            if condition.model:
                named[owner] = condition.model
        for owner, texts in controls.items():
            for one in (parted(text, base) for text in texts):
                shown = one.kind if one.network.startswith(str(WEIGHTS)) else one.network
                named[f"{owner} {shown}"] = one.network
                if one.finder:
                    named[f"{owner} {one.finder}"] = one.finder
        return named


def _files(found: Iterable[Found]) -> list[Path]:
    """Of image prompts, each once: pictures are no models."""
    return list(dict.fromkeys(path for one in found for path in (one.adapter, one.encoder)))
