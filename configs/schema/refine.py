"""Settings of the stage 30-refine."""

from __future__ import annotations

from dataclasses import dataclass

from ..over_steps import Number
from .recipe import RecipeConfig
from .setting import setting


@dataclass(frozen=True)
class RefineConfig(RecipeConfig):
    """Stage 30-refine: score distillation with the same guidance, anchored to the picture.

    A ``Number`` may be a schedule over the steps (``configs.over_steps``). It then says all that the number does over
    the run: what fades, rises or anneals by itself does so no more.
    """

    steps: int = setting(250, "Optimisation steps; 0 passes the lifted field on unchanged.", at_least=0)
    views: int = setting(2, "Cameras rendered at each step.", at_least=1, at_most=64)
    size: int = setting(128, "Side of a rendered view, in pixels.", at_least=16, at_most=1024)
    resolution: int = setting(64, "Voxels along each side of the trained field.", at_least=8, at_most=512)
    samples: int = setting(
        32, "Samples along each ray, all of them close to matter.", at_least=4, at_most=1024
    )
    distillation_weight: Number = setting(
        1.0, "Weight of score distillation against the terms below; 0 asks no denoiser.", at_least=0
    )
    score: str = setting(
        "sds",
        "What distillation follows: sds (the answer less the noise), csd (less the base), nfsd (no noise; takes "
        "refine.negative for what pictures should not be), vsd (less a LoRA that learns the renders).",
        choices=("sds", "csd", "nfsd", "vsd"),
        added_later=True,
    )
    vsd_steps: int = setting(
        1,
        "With score=vsd: steps that the LoRA takes in each step of refinement.",
        at_least=1,
        at_most=100,
        added_later=True,
    )
    vsd_rank: int = setting(4, "With score=vsd: rank of the LoRA.", at_least=1, at_most=256, added_later=True)
    vsd_lr: float = setting(
        1e-4, "With score=vsd: Adam's step size for the LoRA.", at_least=0, added_later=True
    )
    guidance_at_0: Number = setting(
        1.0,
        "Share of guidance's weights at noise fraction 0; they rise to all at t_max. Below 1, colours do not burn.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    weights_over_steps: dict[str, list[float]] = setting(
        {},
        "Schedules of the weights of terms and conditions over the steps, by name, in place of their weight.",
        added_later=True,
    )
    until_over_steps: dict[str, list[float]] = setting(
        {}, "Schedules of until over the steps, by name of the term, in its place.", added_later=True
    )
    since_over_steps: dict[str, list[float]] = setting(
        {}, "Schedules of since over the steps, by name of the term, in its place.", added_later=True
    )
    heard_from: dict[str, list[str]] = setting(
        {},
        "From which views a term or condition is heard, by name; one that is not named is heard from all.",
        choices=("front", "three-quarter", "side", "back", "above"),
        added_later=True,
    )
    view_negatives: float = setting(
        0.0,
        "With the recipe perp_neg: factor on the weights of the prompt's other views as negatives, against faces on "
        "every side; 0 leaves them out, 1 is the paper's.",
        at_least=0,
        added_later=True,
    )
    combine: str = setting(
        "sum",
        "How terms are put together: sum, alternate (one a step in turn), balance (all differences equally long), "
        "project (each without what opposes another).",
        choices=("sum", "alternate", "balance", "project"),
        added_later=True,
    )
    timesteps: str = setting(
        "random",
        "Which noise fractions are asked: random between t_min and t_max, or sqrt, from t_max down to t_min by the "
        "square root of the share of steps, t_max_end not read.",
        choices=("random", "sqrt"),
        added_later=True,
    )
    t_min: Number = setting(0.02, "Smallest noise fraction drawn.", at_least=0, at_most=1)
    t_max: Number = setting(0.35, "Largest noise fraction drawn at the first step.", at_least=0, at_most=1)
    t_max_end: float = setting(
        0.17,
        "Largest noise fraction drawn at the last step; annealed linearly from t_max. Not read if t_max is a schedule.",
        at_least=0,
        at_most=1,
    )
    lr_density: Number = setting(0.05, "Adam's step size for the density grid.", at_least=0)
    lr_color: Number = setting(0.05, "Adam's step size for the colour grid.", at_least=0)
    anchor_rgb_weight: Number = setting(
        30.0, "Weight of the front view's colour error against the picture.", at_least=0
    )
    anchor_alpha_weight: Number = setting(
        10.0, "Weight of the front view's coverage error against the picture.", at_least=0
    )
    anchor_every: int = setting(2, "Steps between two anchor losses.", at_least=1)
    drift_weight: Number = setting(
        0.03,
        "Weight of keeping the lifted shape, at the first step; fades to a fifth at the last.",
        at_least=0,
    )
    tv_weight: Number = setting(0.05, "Weight of total variation of the shape, which smooths it.", at_least=0)
    tv_color_weight: Number = setting(0.1, "Weight of total variation of the albedo.", at_least=0)
    indecision_weight: Number = setting(
        0.3, "Weight, at the last step, of cells being either solid or empty; rises from 0.", at_least=0
    )
    grad_clamp: Number = setting(
        2.0, "Largest size of one entry of the distilled latent gradient; 0 cuts nothing.", at_least=0
    )
    elevation_min_deg: float = setting(5.0, "Lowest camera elevation, in degrees.", at_least=-89, at_most=89)
    elevation_max_deg: float = setting(
        50.0, "Highest camera elevation, in degrees.", at_least=-89, at_most=89
    )
    azimuth_min_deg: float = setting(
        -180.0,
        "First azimuth that cameras stand at, in degrees: 0 is the front, 90 the object's left, 180 behind.",
        at_least=-360,
        at_most=360,
        added_later=True,
    )
    azimuth_max_deg: float = setting(
        180.0,
        "Last azimuth that cameras stand at, in degrees; a turn after the first is all round.",
        at_least=-360,
        at_most=360,
        added_later=True,
    )
    fov_min_deg: float = setting(
        30.0,
        "Least vertical field of view, in degrees; the picture's is 30.",
        at_least=1,
        at_most=120,
        added_later=True,
    )
    fov_max_deg: float = setting(
        30.0,
        "Largest vertical field of view, in degrees; each view draws its own.",
        at_least=1,
        at_most=120,
        added_later=True,
    )
    distance_min: float = setting(
        4.5,
        "Least distance of cameras from the middle of the object, which lies within 1; the picture's is 4.5.",
        at_least=1.8,
        at_most=100,
        added_later=True,
    )
    distance_max: float = setting(
        4.5,
        "Largest distance of cameras from the middle of the object; each view draws its own.",
        at_least=1.8,
        at_most=100,
        added_later=True,
    )
    first_until: float = setting(
        0.0,
        "Share of the steps at whose beginning views are of first_size, and first_views of them; 0 for none.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    first_size: int | None = setting(
        None,
        "Side of a rendered view at first, in pixels; null is size.",
        at_least=16,
        at_most=1024,
        added_later=True,
    )
    first_views: int | None = setting(
        None,
        "Cameras rendered at each step at first; null is views.",
        at_least=1,
        at_most=64,
        added_later=True,
    )
    encoder: str = setting(
        "full",
        "What brings views into latents: full is the base's own; taesd, or a folder of a diffusers AutoencoderTiny for "
        "the same latents, is quicker and less exact.",
        added_later=True,
    )
    light: str = setting(
        "none",
        "How views are lit: none shows the base colour, point now and then a lamp before each, so that light is not "
        "painted in.",
        choices=("none", "point"),
        added_later=True,
    )
    light_share: Number = setting(
        0.75, "With light=point: share of the steps that are lit.", at_least=0, at_most=1, added_later=True
    )
    textureless_share: Number = setting(
        0.5,
        "With light=point: share of the lit steps that show white matter, nothing but shape.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    sparsity_weight: Number = setting(
        0.0, "Weight of views being empty where they can, against haze.", at_least=0, added_later=True
    )
    opaqueness_weight: Number = setting(
        0.0, "Weight of every pixel being either covered or not.", at_least=0, added_later=True
    )
    orientation_weight: Number = setting(
        0.0, "Weight of no surface looking away from who sees it.", at_least=0, added_later=True
    )
    normal_smoothness_weight: Number = setting(
        0.0, "Weight of neighbouring pixels having like normals.", at_least=0, added_later=True
    )
    sharpness: float = setting(
        32.0,
        "How many times harder the field's surface is at the last step than at the first; 1 leaves it soft.",
        at_least=1,
        at_most=100,
    )
    field: str = setting(
        "voxels",
        "What is refined: voxels, a dense grid; hashgrid, a multiresolution hash grid and a network; or a plug-in's.",
        offers="fields",
        choices=("voxels", "hashgrid"),
    )
    hash_levels: int = setting(
        6, "Levels of the hash grid, each 1.45 times finer.", at_least=1, at_most=32, added_later=True
    )
    hash_features: int = setting(
        2, "Features in a row of the hash grid: 1, 2, 4 or 8.", at_least=1, at_most=8, added_later=True
    )
    hash_log2_size: int = setting(
        16,
        "Rows of a level's table, as a power of two; 19 for fine grids on a GPU.",
        at_least=3,
        at_most=24,
        added_later=True,
    )
    hash_neurons: int = setting(
        32, "Neurons of the hash grid's network, in one layer.", at_least=4, at_most=1024, added_later=True
    )
    hash_lr: float = setting(
        0.03,
        "Adam's step size for the hash grid's table; its network's is a tenth.",
        at_least=0,
        added_later=True,
    )
    hash_anchor: float = setting(
        3.0,
        "Factor on the weights of the picture where a hash grid is refined: what the picture does not show shares its "
        "rows.",
        at_least=0,
        added_later=True,
    )
    noise: str = setting(
        "random",
        "Noise of score distillation: random is drawn anew at every step, per_view fixed for each direction of view.",
        choices=("random", "per_view"),
    )
    checkpoint_every: int = setting(
        50,
        "Steps between two checkpoints, from which a stopped run goes on.",
        at_least=1,
        affects_result=False,
    )
