"""The shipped models are what the loaders expect: diffusers runs the prior, and our CFG equals its own."""

import json
import shutil

import pytest
import torch

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance.algebra import Branch
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.null_text import is_null_text
from slipcast.guidance.recipes import cfg
from slipcast.guidance.sampling import sample
from slipcast.systems.domain.model import load_domain
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS

PROMPT = "a red plastic mug, front view, grey background"


@pytest.fixture(scope="module")
def base():
    return load_base(WEIGHTS / "prior", name="starter")


def test_cfg_equals_diffusers_on_the_starter(base):
    """Recipe `cfg` through our sampler against StableDiffusionPipeline itself, in float64 to see equality, not luck."""
    pipeline = load_base(WEIGHTS / "prior", name="starter").pipeline
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.to(torch.float64)
    noise = torch.randn(
        1, *base.latent_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    theirs = pipeline(
        PROMPT, num_inference_steps=6, guidance_scale=4.0, latents=noise.clone(), output_type="latent"
    ).images
    words = pipeline.tokenizer(
        ["", PROMPT], padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    null, text = pipeline.text_encoder(words)[0].split(1)
    from slipcast.guidance.networks import UNetPredictor

    predictor = UNetPredictor(
        pipeline.unet,
        schedule=base.predictor.schedule,
        prediction_type="v_prediction",
        latent_space="starter",
        name="starter",
    )
    guided = GuidedNoise(cfg(Branch("null", predictor, null), Branch("text", predictor, text), 4.0))
    ours = sample(guided, pipeline.scheduler, noise, steps=6)
    assert (ours - theirs).abs().max() < 1e-5


def test_the_domain_reads_no_text_and_belongs_to_the_prior(base):
    domain = load_domain(WEIGHTS / "domain", base)
    assert is_null_text(domain.unet)
    x, t = torch.randn(2, *base.latent_shape), torch.tensor([100, 800])
    eps = domain.predictor.predict(x, t, [None])[0]
    assert eps.shape == x.shape
    assert eps.isfinite().all()


def test_a_domain_of_another_base_is_refused(base, tmp_path):
    folder = shutil.copytree(WEIGHTS / "domain", tmp_path / "domain")
    card = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps(card | {"base_identity": "0" * 64}))
    with pytest.raises(BadInput, match="other weights"):
        load_domain(folder, base)


def test_unknown_words_come_with_their_nearest(base):
    told = base.unknown_words("a blue and white porcelain teapott with dragons")
    assert "teapot" in told["teapott"]
    assert "dragons" in told
    assert "porcelain" not in told


def test_truncated_weights_are_said_in_a_sentence(tmp_path):
    folder = shutil.copytree(WEIGHTS / "prior", tmp_path / "prior")
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(SlipcastError, match="prior"):
        load_base(folder)


def test_a_folder_without_a_model_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="model_index"):
        load_base(tmp_path)


def test_the_weights_are_small_and_in_safetensors():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 80e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".md"}


def test_no_config_tells_where_it_was_made():
    assert not [path for path in WEIGHTS.rglob("*.json") if "_name_or_path" in path.read_text()]
