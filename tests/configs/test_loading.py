"""Settings: presets, overrides, and what is said about those that cannot be used."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config, preset_names
from slipcast.configs.names import settings_of
from slipcast.configs.schema import MakeConfig


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_a_round_trip_through_yaml(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = _write(tmp_path, "all.yaml", yaml.safe_dump(asdict(config)))
    assert load_config(path) == config


def test_every_setting_has_a_sentence() -> None:
    for key, item in settings_of(MakeConfig).items():
        sentence = item.metadata.get("sentence", "")
        assert sentence.endswith(".") and len(sentence) > 15, key


def test_defaults_need_no_preset(tmp_path: Path) -> None:
    assert load_config(_write(tmp_path, "empty.yaml", "{}\n")) == MakeConfig()


def test_overrides_change_one_setting_and_no_other() -> None:
    config = load_config("starter", ["refine.steps=7"])
    assert config.refine.steps == 7
    assert asdict(config) | {"refine": {}} == asdict(load_config("starter")) | {"refine": {}}


def test_later_overrides_win_over_presets_and_parents(tmp_path: Path) -> None:
    _write(tmp_path, "parent.yaml", "image: {steps: 3, candidates: 2}\n")
    child = _write(tmp_path, "child.yaml", "extends: parent.yaml\nimage: {steps: 5}\n")
    config = load_config(child, ["refine.steps=1", "refine.steps=2"])
    assert (config.image.steps, config.image.candidates, config.refine.steps) == (5, 2, 2)


def test_smoke_extends_the_starter() -> None:
    smoke, starter = load_config("smoke"), load_config("starter")
    assert smoke.refine.steps < starter.refine.steps
    assert smoke.image.text_weight == starter.image.text_weight


def test_circles_of_extends_are_refused(tmp_path: Path) -> None:
    first = _write(tmp_path, "a.yaml", "extends: b.yaml\n")
    _write(tmp_path, "b.yaml", "extends: a.yaml\n")
    with pytest.raises(BadInput, match="in turn"):
        load_config(first)


def test_numbers_are_read_as_people_write_them() -> None:
    config = load_config("starter", ["refine.lr_color=1e-3", "image.domain_weight=3"])
    assert config.refine.lr_color == 0.001
    assert config.image.domain_weight == 3.0 and isinstance(config.image.domain_weight, float)


@settings(max_examples=30)
@given(
    st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="$"), max_size=30)
)
def test_text_is_taken_as_it_stands(text: str) -> None:
    assert load_config("starter", [f"image.view={text}"]).image.view == text


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("image.stps=4", "image.steps"),
        ("refin.steps=4", "refine.steps"),
        ("imge.domain_weight=4", "image.domain_weight"),
        ("texture_size=64", "mesh.texture_size"),
        ("turntable_frame=1", "export.turntable_frames"),
        ("lift_modl=x", "lift_model"),
    ],
)
def test_an_unknown_setting_names_the_nearest(override: str, nearest: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_config("starter", [override])
    assert f"did you mean {nearest}?" in str(caught.value)


def test_an_unknown_setting_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "mine.yaml", "mesh:\n  targt_faces: 3\n")
    with pytest.raises(
        BadInput, match=r"mesh\.targt_faces \(from .*mine\.yaml\); did you mean mesh\.target_faces"
    ):
        load_config(path)


@pytest.mark.parametrize("key", ["no_such_group", "image.nested.deep", "refine.steps.more"])
def test_unknown_keys_of_every_depth_are_refused(key: str) -> None:
    with pytest.raises(BadInput):
        load_config("starter", [f"{key}=1"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("image.steps=many", "image.steps .* expects a whole number, not 'many'"),
        ("image.steps=2.5", "expects a whole number, not 2.5"),
        ("image.steps=true", "expects a whole number, not True"),
        ("image.steps=null", "expects a whole number, not None"),
        ("image.domain_weight=[1]", r"expects a number or null, not \[1\]"),
        ("export.formats=glb", r"expects a list such as \[glb\], not 'glb'"),
        ("image=5", "group of settings"),
        ("image.steps", "expected key=value"),
        ("=3", "expected key=value"),
        ("image.steps='[", "cannot be read"),
        ("image.view=${nowhere}", "does not exist"),
    ],
)
def test_a_wrong_type_says_what_was_expected_and_what_came(override: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_config("starter", [override])


@pytest.mark.parametrize(
    "override",
    [
        "image.steps=0",
        "image.domain_weight=-1",
        "image.domain_weight=nan",
        "refine.tv_weight=inf",
        "refine.t_max=1.5",
        "refine.t_min=0.9",
        "refine.elevation_min_deg=60",
        "mesh.resolution=100000",
        "mesh.threshold=low",
        "mesh.threshold=-3",
        "mesh.crease_deg=200",
        "export.formats=[glb,doc]",
    ],
)
def test_values_outside_their_limits_are_refused_by_name(override: str) -> None:
    with pytest.raises(BadInput, match=override.split("=")[0].replace(".", r"\.")):
        load_config("starter", [override])


def test_the_defaults_lie_within_their_own_limits() -> None:
    load_config("starter")
    assert {item.name for item in fields(MakeConfig)} == {
        key.split(".")[0] for key in settings_of(MakeConfig)
    }


def test_a_missing_preset_names_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"no preset 'stater'; the presets are .*smoke, starter"):
        load_config("stater")


@pytest.mark.parametrize("text", ["- a\n- b\n", "image: [\n", "just words\n"])
def test_files_that_hold_no_settings_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        load_config(_write(tmp_path, "odd.yaml", text))


def test_a_binary_or_absent_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    for name in ("binary.yaml", "absent.yaml"):
        with pytest.raises(BadInput):
            load_config(str(tmp_path / name))
