"""How large the tables are: the starter's world on a laptop, a quick look at it, and the papers' own settings.

No number here was chosen by an ordering that it leads to. The starter's are as many as fit into five to six hours of
two cores that multiply bfloat16 by themselves; its sampler is the one that its card names. A first run of one seed,
with 260 steps and another sampler in ten steps, told no method from another: all of them drew what the prior draws, and
that was mostly the sampler's noise. So with the small DiT, which drew patches after 2,000 steps, and whose new classes
were all alike after 500. ``sd15`` has the papers' settings word for word where they are printed
(arxiv.org/abs/2312.08195, 4.1: Stable Diffusion 1.5 at 512 pixels, AdamW at a constant 1e-5, 32 pictures a step,
features from 3,200 pictures, DPM-Solver++ with 100 steps, 50,000 pictures for a distance, 1,000 over 10 attributes for
the alignment, 200 edges); "until convergence" has no number there, and is 100,000 steps here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...systems.baselines.words import WORD


@dataclass(frozen=True)
class Classes:
    """Paper 2's setting: a DiT, trained on everything and then on a domain's classes.

    Attributes:
        width, heads, layers: of the transformer.
        steps, tune_steps, batch, rate, tune_rate: of the two trainings.
        dropped: share of the labels that are left out in fine-tuning, for classifier-free guidance's null branch.
        samples, sample_steps: of a figure.
        strengths: the sweep over w.
        step_counts: the sweep over sampling steps, at ``strength``.
    """

    width: int = 256
    heads: int = 4
    layers: int = 6
    steps: int = 5000
    tune_steps: int = 2000
    batch: int = 32
    rate: float = 1e-3
    tune_rate: float = 1e-3
    dropped: float = 0.1
    samples: int = 120
    sample_steps: int = 25
    strength: float = 1.5
    strengths: tuple[float, ...] = (1.0, 1.4, 1.7, 2.0, 3.0, 4.0)
    step_counts: tuple[int, ...] = (10, 25, 50, 100)


@dataclass(frozen=True)
class Assets:
    """The 3-D ablations: one seed, nine nouns."""

    nouns: tuple[str, ...] = ("teapot", "vase", "mug", "pitcher", "goblet", "lamp", "chair", "bottle", "cup")
    settings: tuple[str, ...] = ()


def short_name(extractor: str) -> str:
    """As figures and columns name it: ``lite0``."""
    return extractor.rsplit("-", 1)[-1]


@dataclass(frozen=True)
class Scale:
    """Settings of all tables.

    Attributes:
        base: as ``--base`` takes it.
        domain: the domain's name in words that the base reads.
        prompt, asked: the prompt of training, and of a picture of a word; {token} is where a new word goes.
        known, held_out: the words of the alignment; the domain's pictures show none of the held-out ones.
        objects, views, true_objects: how many things the generator makes for training, pictures of each, and how many
            for the distance.
        steps, batch: of every method's training.
        at_once: of a step's pictures that are looked at together; all if None.
        marks: parts of a training after which the forgetting curve looks.
        samples, per_word, edges: pictures of a distance, of each word's alignment, and of the edges.
        total: w_0 of the norm rule.
        extractors: whose features the distances are of, over so many ``directions``; 0 for all.
        draws: of the bootstrap.
    """

    name: str
    base: str = "starter"
    domain: str = "blue and white porcelain"
    prompt: str = "a {token}blue and white porcelain"
    asked: str = "a {token}blue and white porcelain {word}"
    known: tuple[str, ...] = ("vase", "bowl", "mug", "pitcher", "bottle", "rabbit", "duck", "house", "stool")
    held_out: tuple[str, ...] = ("teapot", "chair", "cat", "lamp", "car", "elephant", "goblet")
    objects: int = 384
    views: int = 4
    true_objects: int = 288
    steps: int = 1040
    batch: int = 16
    at_once: int | None = None
    warmup: int = 104
    feature_steps: int = 100
    noise_shift: float = 1.6
    marks: tuple[float, ...] = (0.1, 0.4)
    samples: int = 120
    per_word: int = 3
    edges: int = 36
    scheduler: str = "euler-a"
    sample_steps: int = 20
    total: float = 7.0
    guided: tuple[float, ...] = (1.5, 2.0)
    extractors: tuple[str, ...] = ("efficientnet-lite0", "efficientnet-lite1")
    directions: int = 48
    draws: int = 50
    seeds: tuple[int, ...] = (0, 1, 2)
    classes: Classes = field(default_factory=Classes)
    assets: Assets = field(default_factory=Assets)
    toy_samples: int = 4000

    def said(self, template: str, *, token: bool, word: str = "") -> str:
        """A prompt: with the new word or without, and with what it asks for."""
        return template.format(token=f"{WORD} " if token else "", word=word)

    @property
    def networks(self) -> tuple[str, ...]:
        """The extractors, as figures and columns name them."""
        return tuple(short_name(extractor) for extractor in self.extractors)

    @property
    def words(self) -> tuple[str, ...]:
        """All words of the alignment."""
        return (*self.known, *self.held_out)

    def settings(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


STARTER = Scale("starter")
QUICK = replace(
    STARTER,
    name="starter, quick",
    objects=24,
    views=2,
    true_objects=40,
    steps=6,
    batch=4,
    warmup=2,
    feature_steps=2,
    marks=(0.5,),
    samples=12,
    per_word=1,
    known=("vase", "mug"),
    held_out=("teapot", "chair"),
    edges=4,
    sample_steps=3,
    guided=(1.5,),
    directions=6,
    draws=10,
    seeds=(0,),
    classes=Classes(
        width=48, heads=4, layers=2, steps=10, tune_steps=5, batch=8, samples=12, sample_steps=3,
        strengths=(1.0, 1.5), step_counts=(2, 3),
    ),
    assets=Assets(
        nouns=("vase",),
        settings=("image.steps=3", "image.candidates=1", "refine.steps=3", "mesh.target_faces=2000"),
    ),
    toy_samples=400,
)  # fmt: skip
SD15 = Scale(
    "sd15",
    base="sd15",
    domain="face",
    prompt="a photo of a {token}face",
    asked="a photo of a {token}face, {word}",
    known=("wearing glasses", "wearing sunglasses", "wearing earrings", "wearing a hat", "smiling"),
    held_out=("a man", "a woman", "with a beard", "with blond hair", "with curly hair"),
    steps=100_000,
    batch=32,
    at_once=8,
    warmup=0,
    feature_steps=100,
    noise_shift=1.0,
    scheduler="dpm++",
    samples=50_000,
    per_word=100,
    edges=200,
    sample_steps=100,
    extractors=("dinov2",),
    directions=0,
    draws=0,
    seeds=(0,),
)
SCALES = {"starter": STARTER, "sd15": SD15}


def scale_named(name: str, *, quick: bool = False, seeds: tuple[int, ...] | None = None) -> Scale:
    """A scale of the table. BadInput for a name that is none, or a quick look at the papers' own."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    if quick and name != "starter":
        raise BadInput(
            "--quick is a short look at the starter's tables; leave it out, or choose --scale starter"
        )
    scale = QUICK if quick else SCALES[name]
    return scale if seeds is None else replace(scale, seeds=seeds)
