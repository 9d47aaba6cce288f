"""The models of a run, by role: looked up by alias or folder, named for the manifest, loaded when first used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput
from ...configs.schema import MakeConfig
from .additions import ADDED, Additions
from .chosen_lift import ChosenLift
from .finding import find_model

if TYPE_CHECKING:
    from ...guidance.conditioning import Shown
    from ...guidance.offloading import CPUOffload
    from ...guidance.predictors import ConditionalDenoiser
    from ...systems.domain.model import Domain
    from ...systems.models.base import Base
    from ...systems.models.codec import Codec
    from ...systems.models.uses import Uses


@dataclass(frozen=True)
class ModelStore:
    """``base``, ``domain`` and ``custom`` models of one configuration, and which ``lift`` it names.

    Args:
        offload: keeps one network on the device at a time.
    """

    config: MakeConfig
    allow_pickle: bool = False
    offload: CPUOffload | None = None

    @cached_property
    def device(self) -> str:
        """Where the networks compute: the config's device, ``auto`` made out. BadInput for one not in this machine."""
        from ...systems.models.precision import resolve_device

        return resolve_device(self.config.device)

    def folder(self, role: str) -> Path:
        """Where a role's model lies: one that ships, a folder, or an alias. BadInput when it is not there."""
        wanted = self.named(role)
        if wanted is None:
            raise BadInput(
                f"there is no {role} here; give --{role} NAME or a folder, or choose a recipe without one"
            )
        if role == "lift_model" and self.lift != "starter":
            return self._lift.source()
        return find_model(role, wanted, allow_pickle=self.allow_pickle)

    def identities(self, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
        """{role: {id, revision, licence}}; the revision is a hash of all files that are read: a changed one is noticed.

        A domain whose domain.json says how glossy its things are also has "roughness". A role without a model (a run
        needs no custom one) is left out.
        """
        from ...systems.models.identity import model_identity
        from ...systems.models.known import entry_of

        told: dict[str, dict[str, Any]] = {}
        for role in roles:
            if "." in role or role in ADDED:
                told |= self._additions.told(role)
                self._places.update(self._additions.places)
                continue
            name = self.named(role)
            if name is None:
                continue
            folder, known = self.folder(role), entry_of(role, name)
            self._places[role] = [] if folder == Path() else [folder]  # a lift that reads nothing
            content = self.card() if role == "domain" else {}
            told[role] = {
                "id": name,
                "revision": self._lift.identity(folder) if role == "lift_model" else model_identity(folder),
                "licence": content.get("licence", known.licence if known else self._licence(role)),
            }
            if role == "domain":
                told[role] |= self.look()
        return told

    def places(self, name: str) -> list[Path]:
        """Where the files and folders of a model lie that ``identities`` told of."""
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, list[Path]]:
        return {}

    def named(self, role: str) -> str | None:
        """How the settings call the model of a role; None where they name none."""
        from ...systems.models.known import domain_for

        if "." in role:
            return None
        if role in ("loras", "embeddings"):
            return " + ".join(getattr(self.config, role)) or None
        return (
            domain_for(self.config.base, self.config.domain)
            if role == "domain"
            else getattr(self.config, role)
        )

    def networks(self, role: str) -> dict[str, str]:
        """{role and name: alias, hub id or path} of the networks that a stage's setting names; here or not."""
        return self._additions.networks(role) if "." in role else {}

    def uses(self) -> Uses:
        """How base and domain want to be used: words, sampler, weights. BadInput for a damaged card."""
        from ...systems.models.known import entry_of
        from ...systems.models.uses import GENERAL

        base = entry_of("base", self.config.base)
        said = self._uses_of_base().over(GENERAL)
        said = said if base is None else base.uses.over(said)
        return self._domain_uses().over(said)

    def _uses_of_base(self) -> Uses:
        """What the base's own configs say; nothing where it is not at hand, which ``identities`` says."""
        from ...systems.models.uses import Uses, uses_of_base

        try:
            folder = self.folder("base")
        except BadInput:
            return Uses()
        return uses_of_base(folder)

    def _domain_uses(self) -> Uses:
        from ...systems.domain.places import card_path
        from ...systems.models.known import entry_of
        from ...systems.models.uses import Uses, uses_of_card

        name = self.named("domain")
        if name is None:
            return Uses()
        own = uses_of_card(self.card(), card_path(self.folder("domain")))
        known = entry_of("domain", name)
        return own.over(Uses() if known is None else known.uses)

    def card(self) -> dict[str, Any]:
        """What its card says. BadInput when it is damaged."""
        from ...systems.domain.model import read_card

        return read_card(self.folder("domain"))

    def look(self) -> dict[str, float]:
        """{"roughness": 0 to 1} of the domain's things; empty where its domain.json does not say.

        Raises:
            BadInput: no such domain, or its card says something else than a number from 0 to 1.
        """
        roughness = self._domain_uses().roughness
        return {} if roughness is None else {"roughness": roughness}

    @cached_property
    def base(self) -> Base:
        """The frozen prior, which knows the words of all embeddings."""
        from ...systems.models.base import load_base

        base = load_base(
            self.folder("base"),
            name=self.config.base,
            device=self.device,
            dtype=self.config.dtype,
            allow_pickle=self.allow_pickle,
            vae=self.config.vae,
            offload=self.offload,
        )
        self._teach(base)
        return replace(base, embedded_guidance=self.config.embedded_guidance)

    def _teach(self, base: Base) -> None:
        from ...systems.guided.embeddings import add_embedding

        for path, token in self._additions.embeddings:
            add_embedding(base, path, token)

    def base_with_loras(self, notice: Callable[[str], None]) -> Base:
        """The base as its branches are to hear it: with the LoRAs of the settings in it, put there once."""
        from ...systems.guided.lora import with_loras

        if not self._adapted:
            self._adapted.append(
                with_loras(self.base, [(where, s) for _, where, s in self._additions.loras], notice)
            )
        return self._adapted[0]

    @cached_property
    def _adapted(self) -> list[Base]:
        return []

    @cached_property
    def _additions(self) -> Additions:
        return Additions(self.config, lambda: self.folder("base"), self.allow_pickle)

    @property
    def hashes(self) -> dict[str, str]:
        """Of LoRAs, embeddings and image prompts, as they were written: {"lora FILE:strength": hash of its files}."""
        return self._additions.hashes

    def image_prompts(self, wanted: Sequence[str]) -> tuple[Shown, ...]:
        """Image prompts as they are written, ready for the base's network; read once."""
        if not (texts := tuple(wanted)):
            return ()
        if texts not in self._shown:
            from ...systems.guided.image_prompts import load_image_prompts

            self._shown[texts] = load_image_prompts(texts, self.base, **self._additions.encoder)
        return self._shown[texts]

    @cached_property
    def _shown(self) -> dict[tuple[str, ...], tuple[Shown, ...]]:
        return {}

    @cached_property
    def tiny_encoder(self) -> Codec | None:
        """The small encoder that refinement's views go through; None for the base's own."""
        from ...systems.models.aliases import resolve
        from ...systems.models.tiny_codec import load_tiny

        wanted = self.config.refine.encoder
        if wanted == "full":
            return None
        found = resolve(wanted, allow_pickle=self.allow_pickle)
        folder = found if found.is_dir() else found.parent
        return load_tiny(folder, self.base.codec, self.device, allow_pickle=self.allow_pickle)

    @cached_property
    def domain(self) -> Domain:
        """The domain of that base."""
        from ...systems.guided.variants import load_any_domain

        return load_any_domain(self.folder("domain"), self.base, allow_pickle=self.allow_pickle)

    def custom(self, path: str, notice: Callable[[str], None]) -> ConditionalDenoiser:
        """A model that somebody made of the base (a LoRA, a checkpoint, a domain), loaded once."""
        from ...systems.guided.variants import load_custom
        from ...systems.models.base import Base

        if path not in self._custom:
            made = load_custom(
                path,
                self.base_with_loras(notice),
                scale=self.config.lora_scale,
                allow_pickle=self.allow_pickle,
                notice=notice,
            )
            if isinstance(made, Base) and made.pipeline is not self.base.pipeline:
                self._teach(made)  # a checkpoint brings a tokenizer of its own
            self._custom[path] = made
        return self._custom[path]

    @cached_property
    def _custom(self) -> dict[str, ConditionalDenoiser]:
        return {}

    def _licence(self, role: str) -> str:
        """Of a model that no table of models knows."""
        return self._lift.licence if role == "lift_model" else "unknown"

    @property
    def lift(self) -> str:
        """Name of the lift (``systems.lift.table``)."""
        return self._lift.name

    @cached_property
    def _lift(self) -> ChosenLift:
        return ChosenLift(self.config, self.allow_pickle)


def open_models(config: MakeConfig, *, allow_pickle: bool = False, low_memory: bool = False) -> ModelStore:
    """The models of a config; nothing is loaded yet.

    Args:
        allow_pickle: read weights from pickles where there are no others; no setting, so that no run asks for it.
        low_memory: keep one network on the device at a time.
    Raises: BadInput for a device that this machine has not, if networks are to take turns on it.
    """
    if not low_memory:
        return ModelStore(config, allow_pickle)
    from ...guidance.offloading import CPUOffload
    from ...systems.models.precision import resolve_device

    return ModelStore(config, allow_pickle, CPUOffload(resolve_device(config.device)))
