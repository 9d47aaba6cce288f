"""Every setting of a run, typed, with one sentence each.

These dataclasses are the single source of what may be set: presets (``configs/presets/*.yaml``) and ``key=value``
overrides are checked against them by ``configs.loading``. Angles are degrees here (``_deg``) and radians everywhere
else. A guidance weight w follows the project's one convention: w = 0 is the base, w = 1 the branch itself, so w is
what diffusers calls ``guidance_scale``. Noise fractions t run from 0 (clean picture) to 1 (pure noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .over_steps import Number


def setting(
    default: Any,
    sentence: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] | None = None,
    offers: str | None = None,
    at_least_one: bool = False,
    affects_result: bool = True,
    added_later: bool = False,
    files: bool = False,
) -> Any:
    """A dataclass field with its sentence and its limits.

    ``offers`` names a kind of plug-in (``configs.plugins``) whose names are choices too. ``at_least_one`` forbids an
    empty list of choices. ``affects_result=False`` marks book-keeping that leaves what a stage makes unchanged, such as
    how often it saves: changing it never re-runs a finished stage. ``added_later`` keeps a setting out of a stage's key
    while it has its default, so that runs of the versions before it stay finished. ``files`` marks paths of pictures,
    plain or as in ``control``: their content counts in the key, wherever it lies.
    """
    metadata = {
        "sentence": sentence,
        "at_least": at_least,
        "at_most": at_most,
        "choices": None if choices is None else tuple(choices),
        "offers": offers,
        "at_least_one": at_least_one,
        "affects_result": affects_result,
        "added_later": added_later,
        "files": files,
    }
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ExtraCondition:
    """One more condition of a complex prompt: its own words, and possibly its own model and controls."""

    prompt: str = setting("", "What it asks for; empty is the unconditional prompt.")
    weight: float = setting(1.0, "Weight of its term.")
    model: str | None = setting(None, "A LoRA, checkpoint or domain that says it; the base if left out.")
    control: list[str] = setting([], "Spatial controls of this condition alone, such as canny:edges.png.")
    image_prompt: list[str] = setting(
        [], "Image prompts of this condition alone, each PICTURE[:NETWORK][:SCALE].", added_later=True
    )


@dataclass(frozen=True)
class RecipeConfig:
    """Which guidance a denoiser is asked with; the picture and its refinement each have one."""

    recipe: str = setting("in_domain", "Which guidance: a name of guidance.recipes.RECIPES.")
    weights: dict[str, float] = setting(
        {}, "Weights of the recipe's terms by name; what is left out is what base and domain say."
    )
    domain_weight: float | None = setting(
        None,
        "Weight of the term domain; 0 leaves the base alone, null is what base and domain say.",
        at_least=0,
    )
    text_weight: float | None = setting(
        None, "Weight of the term text; 1 is the plain model, null is what base and domain say.", at_least=0
    )
    domain_until: float = setting(
        1.0,
        "The domain term is on up to this noise fraction and off above it; 1 is always on, 0.5 keeps unseen shapes.",
        at_least=0,
        at_most=1,
    )
    domain_since: float = setting(
        0.0,
        "The domain term is on from this noise fraction up and off below it; 0 is always on.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    guidance_rescale: float = setting(
        0.0,
        "How much of the contrast of the prompt's own prediction the guided one is given, against burnt colours.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    negative: list[str] = setting([], "Prompts to stay away from.")
    wanted: dict[str, float] = setting(
        {}, "Further prompts that must hold too, with their weights (composable)."
    )
    unwanted: dict[str, float] = setting({}, "Prompts that must not hold, with their weights (composable).")
    until: dict[str, float] = setting(
        {},
        "Noise fraction up to which a term is on, by name; domain_until is short for the term domain.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    since: dict[str, float] = setting(
        {},
        "Noise fraction from which up a term is on, by name; domain_since is short for the term domain.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    conditions: dict[str, ExtraCondition] = setting(
        {},
        "Further conditions by name (in_domain, composable): prompt, weight, model, image_prompt; for the picture also "
        "control.",
        added_later=True,
    )
    balance: float | None = setting(
        None,
        "Total weight to share between domain and text by the length of their differences (in_domain).",
        at_least=0,
        added_later=True,
    )


@dataclass(frozen=True)
class ImageConfig(RecipeConfig):
    """Stage 10-image: a prompt becomes one picture of the subject, guided into the domain."""

    steps: int = setting(25, "Denoising steps of the sampler.", at_least=1, at_most=1000)
    candidates: int = setting(4, "Pictures drawn; the best-ranked one goes on.", at_least=1, at_most=64)
    pick: int | None = setting(
        None,
        "Number of the candidate that goes on, from 0, unranked and with lift.keep=1; null takes the best-ranked.",
        at_least=0,
        added_later=True,
    )
    scheduler: str | None = setting(
        None, "Sampler: a name of guidance.sampling.SCHEDULERS; null is what base and domain say."
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


@dataclass(frozen=True)
class LiftConfig:
    """Stage 20-lift: the picture becomes a first radiance field, by a feed-forward network or from a mesh."""

    resolution: int = setting(64, "Voxels along each side of the saved field.", at_least=8, at_most=512)
    keep: int = setting(
        1,
        "How many of image.candidates are lifted, the best drawn first; the best, by picture and lift, goes on.",
        at_least=1,
        at_most=64,
        added_later=True,
    )
    source: str = setting(
        "",
        "What lift_model reads where it is no folder itself; for lift_model=mesh a GLB, glTF, OBJ, PLY or STL.",
    )
    seed: int = setting(
        0, "Of the noise that Shap-E draws from, beside the run's own.", at_least=0, added_later=True
    )
    steps: int = setting(64, "Denoising steps of Shap-E's prior.", at_least=1, at_most=1024, added_later=True)
    guidance: float = setting(
        3.0, "Weight of the picture in Shap-E's prior; 1 is its plain answer.", at_least=1, added_later=True
    )
    command: str = setting(
        "",
        "With lift_model=command: abstract3d-triposr, abstract3d-step1x, trellis2, hunyuan3d-2.1, or a command line "
        "with {picture} and {mesh} or {out}, which no shell reads.",
        added_later=True,
    )
    python: str = setting(
        "python",
        "The Python that a named lift.command runs in, of the program's own environment.",
        added_later=True,
    )
    time_limit_s: float = setting(
        3600.0, "Seconds after which lift.command is ended.", at_least=1, affects_result=False
    )


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
        "refine.negative for what pictures should not be).",
        choices=("sds", "csd", "nfsd"),
        added_later=True,
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
        8, "Levels of the hash grid, each 1.45 times finer.", at_least=1, at_most=32, added_later=True
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
    noise: str = setting(
        "random",
        "Noise of score distillation: random is drawn anew at every step, per_view fixed for each direction of view.",
        choices=("random", "per_view"),
    )
    checkpoint_every: int = setting(
        50,
        "Steps between two checkpoints, from which a stopped run goes on, and a collapsed one tries again.",
        at_least=1,
        affects_result=False,
    )


@dataclass(frozen=True)
class MeshConfig:
    """Stage 40-mesh: the field becomes a triangle mesh with textures."""

    resolution: int = setting(
        192, "Samples of the field along each side for the iso-surface.", at_least=8, at_most=1024
    )
    target_faces: int = setting(20000, "Faces aimed at by decimation.", at_least=100, at_most=2_000_000)
    texture_size: int = setting(1024, "Side of the textures, in pixels.", at_least=16, at_most=8192)
    threshold: str = setting(
        "auto", "Density of the surface; auto takes the one whose outlines agree best with the field's own."
    )
    crease_deg: float = setting(
        180.0,
        "Edges whose faces' normals differ by more than this are shaded as sharp, in degrees; 180 shades all smooth.",
        at_least=0,
        at_most=180,
    )
    paint_views: int = setting(
        0,
        "Cameras all round whose views of the field make the base colour; 0 looks along the normals alone.",
        at_least=0,
        at_most=256,
    )
    normal_map: bool = setting(True, "Bake what decimation took away into a normal map.")
    ambient_occlusion: bool = setting(True, "Bake how much sky each point sees into the red of an ORM map.")


@dataclass(frozen=True)
class PaintConfig:
    """Stage 45-paint: views of the mesh are denoised together, as the picture was drawn, and agree in its texture."""

    steps: int = setting(
        0,
        "Denoising steps of all views, 12 for a start; 0 leaves the paint of the mesh.",
        at_least=0,
        at_most=1000,
    )
    views: int = setting(10, "Cameras, a quarter of them from above.", at_least=1, at_most=64)
    size: int | None = setting(
        None, "Side of a view, in pixels; null is the base's own.", at_least=16, at_most=2048
    )
    start: float = setting(
        0.5,
        "Noise fraction that the views begin at; the larger, the less of the old paint stays.",
        at_least=0,
        at_most=1,
    )
    guidance: float = setting(
        1.0, "Factor on the weights that the picture was drawn with (image.weights).", at_least=0
    )
    control: str | None = setting(
        None,
        "Kind of ControlNet that holds the views to the mesh's shape; null for none.",
        choices=("canny", "depth"),
    )
    control_scale: float = setting(1.0, "Strength of that ControlNet.", at_least=0)
    keep_detail: float = setting(
        0.0,
        "Share of the old paint's detail, finer than the autoencoder knows, that is laid over the new.",
        at_least=0,
        at_most=1,
    )
    agree_every: int = setting(
        1, "Steps between two agreements in the texture; more where the autoencoder is slow.", at_least=1
    )
    power: float = setting(
        32.0,
        "Power of the cosine by which a texel belongs to the views that see it squarely.",
        at_least=0,
        at_most=64,
    )
    anchor: float = setting(
        1.0,
        "How firmly the front keeps the picture: 1 keeps it where it is seen squarely, 0 paints it as all else.",
        at_least=0,
        at_most=1,
    )


@dataclass(frozen=True)
class ExportConfig:
    """Stage 50-export: files for other programs, and pictures to look at."""

    formats: list[str] = setting(
        ["glb"],
        "File formats written.",
        choices=("glb", "gltf", "obj", "ply", "stl", "usdz", "fbx", "blend"),
        offers="exporters",
        at_least_one=True,
    )
    height_m: float | None = setting(
        None,
        "Height of the object in metres; null takes one unit of the object's frame, which is 2 wide, for one metre.",
        at_least=0.001,
        at_most=1000,
    )
    roughness: float | None = setting(
        None,
        "Roughness of the whole surface, 0 glossy to 1 matt; null takes what the domain says (porcelain: 0.2).",
        at_least=0,
        at_most=1,
    )
    quads: bool = setting(
        False,
        "Pair triangles into quads where the format holds them (OBJ, FBX, .blend); the surface stays the same.",
    )
    lods: list[float] = setting(
        [],
        "Levels of detail beside the full mesh, as fractions of its faces, such as [0.5, 0.25, 0.1]; empty for none.",
        at_least=0.001,
        at_most=0.99,
    )
    faces: int | None = setting(
        None,
        "Faces to reduce the mesh to, with a new atlas and the base colour alone; null keeps the mesh and its maps.",
        at_least=4,
        added_later=True,
    )
    textures: str = setting(
        "png",
        "Picture files of the maps: png; jpeg, smaller; webp, smallest, known to fewer programs and not held by USDZ.",
        choices=("png", "jpeg", "webp"),
        added_later=True,
    )
    turntable_frames: int = setting(24, "Frames of the turntable; 0 writes none.", at_least=0, at_most=720)


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
