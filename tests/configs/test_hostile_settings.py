"""Settings from anywhere: a checked config or one sentence, in bounded time, and nothing from outside of the config."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput
from slipcast.configs.limits import check_limits
from slipcast.configs.loading import load_config, restore_config
from slipcast.configs.names import settings_of
from slipcast.configs.over_steps import Number
from slipcast.configs.paths import given_path
from slipcast.configs.picture import PictureConfig, picture_config
from slipcast.configs.schema import MakeConfig

SECRET = "hf_0123456789abcdef"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)


def _sentence(act: Callable[[], object]) -> str:
    """What a ``BadInput`` says, after checking that it is one line of bearable length and no secret."""
    with pytest.raises(BadInput) as caught:
        act()
    said = str(caught.value)
    assert len(said) < 600 and "\n" not in said and SECRET not in said
    return said


RESOLVERS = [
    "${oc.env:HF_TOKEN}",
    "${oc.env:HF_TOKEN,none}",
    "a ${oc.env:HF_TOKEN} vase",
    "${oc.decode:${oc.env:HF_TOKEN}}",
    "${oc.select:image.view}",
    "${oc.create:{a: 1}}",
    "${env:HF_TOKEN}",
    "${now:}",
    "${ oc.env:HF_TOKEN }",
    "\\${oc.env:HF_TOKEN}",
    "${image.${lift_model}}",
    "${",
    "${.steps}",
]


@pytest.mark.parametrize("text", RESOLVERS)
def test_nothing_outside_of_the_config_is_looked_up(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"image": {"view": text}}), encoding="utf-8")
    assert "image.view" in _sentence(lambda: load_config("starter", [f"image.view={text}"]))
    assert "image.view" in _sentence(lambda: load_config(str(path)))
    for layer in ({"negative": [text]}, {"domain": text}, {"wanted": {text: 1.0}}):
        _sentence(lambda layer=layer: picture_config(None, layer))
        path.write_text(yaml.safe_dump(layer), encoding="utf-8")
        _sentence(lambda: picture_config(path, {}))
    path.write_text(yaml.safe_dump({"conditions": {"style": {"prompt": text}}}), encoding="utf-8")
    _sentence(lambda: picture_config(path, {}))


def test_a_whole_value_may_be_another_settings() -> None:
    config = load_config(
        "starter", ["refine.steps=${image.steps}", "image.steps=7", "lift.resolution=${mesh.resolution}"]
    )
    assert (config.refine.steps, config.lift.resolution) == (7, MakeConfig().mesh.resolution)
    chain = load_config(
        "starter", ["refine.views=${refine.steps}", "refine.steps=${image.steps}", "image.steps=9"]
    )
    assert chain.refine.views == 9
    assert picture_config(None, {"steps": "${count}", "count": 3}).steps == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["image.steps=${image.steps}"], "image.steps refers to itself"),
        (["image.steps=${refine.steps}", "refine.steps=${image.steps}"], "refers to itself"),
        (["image.steps=${image.view}"], "image.steps .* expects a whole number"),
        (["image.steps=${refine.domain_weight}"], "image.steps .* expects a whole number"),
        (["image.steps=${refine}"], "refine, which does not exist"),
        (["image.steps=${image.steps.real}"], "image.steps.real, which does not exist"),
        (["image.steps=${image.__class__}"], "does not exist"),
        (["image.candidates=${refine.steps}"], "image.candidates expects at most 64"),
    ],
)
def test_references_are_checked_as_values_are(overrides: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_config("starter", overrides)


@pytest.mark.parametrize(
    "override",
    [
        "image.view=\udcff",
        "domain=\udcff\udcfe",
        "\udcff=1",
        "image.steps=\udcff",
        "image.steps=" + "9" * 5000,
        "image.steps=" + "9" * 4000,
        "refine.steps=" + "9" * 30,
        "refine.steps=-" + "9" * 5000,
        "refine.steps=0x" + "f" * 6000,
        "image.domain_weight=" + "9" * 400,
        "image.domain_weight=1" + "0" * 5000 + ".0",
        "image.domain_weight=1e999",
        "image.domain_weight=.nan",
        "image.domain_weight=-.inf",
        "image.domain_weight=0x_",
        "export.formats={}",
        "export.formats=[]",
        "export.formats=null",
        "export.formats={glb: 1}",
        "export.formats=[[glb]]",
        "export.formats=[glb, null]",
        "export.lods=[[1]]",
        "export.lods={}",
        "export.lods=[null]",
        "export.lods=[.nan]",
        "export.lods=[true]",
        "export.lods=0.5",
        "export.height_m=2024-01-01",
        "export.height_m=!!python/object/apply:os.getcwd []",
        "export.lods=!!set {0.5}",
        "export.formats=!!binary Z2xi",
        "export.quads=1",
        "refine.steps=" + "[" * 3000,
        "refine.steps=" + "[" * 3000 + "]" * 3000,
        "refine.steps=" + "{a: " * 3000 + "1" + "}" * 3000,
        "refine.steps=[" + "1," * 20000 + "]",
        "refine.steps=&a [*a]",
        "refine.steps={a: 1, a: 2}",
        "refine.steps=*a",
        "refine.steps=" + "x" * 200_000,
        "x" * 100_000 + "=1",
        "refine" + ".steps" * 10_000 + "=1",
        "x" * 100_000,
        "__class__=1",
        "image.__init__=1",
    ],
    ids=lambda override: ascii(override[:30]),
)
def test_overrides_that_are_no_settings_end_in_a_sentence(override: str) -> None:
    began = time.process_time()
    said = _sentence(lambda: load_config("starter", [override]))
    assert time.process_time() - began < 2
    name = override.partition("=")[0]
    if name in settings_of(MakeConfig):
        assert name in said


def _laughs(levels: int, *, merge: bool = False) -> str:
    lines = ["a0: &a0 {x0: 1, y0: 2}" if merge else "a0: &a0 [lol, lol]"]
    for level in range(1, levels):
        many = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{many}], x{level}: 1}}" if merge else f"[{many}]"))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "image: " * 3000 + "1",
        "image:\n" + "\n".join(" " * level + "image:" for level in range(1, 3000)),
        "image: " + "[" * 3000,
        "- " * 3000 + "1",
        "? " * 3000 + "1",
        _laughs(12),
        _laughs(12, merge=True),
        "a: &a {b: *a}",
        "image: &a {image: *a}",
        "image: !!python/object/apply:os.system [echo]",
        "image: !!timestamp 2024-01-01",
        "image: {steps: !!binary aGk=}",
        "image: {steps: 2024-01-01}",
        "image: {steps: =}",
        "image: {1: 2}",
        "{[1, 2]: 3}",
        "null: 1",
        "image: {steps: 3, steps: 4}",
        'image: {view: "\\0"}',
        'image: {view: "\\ud800"}',
        'domain: "a\\eb"',
        "--- {}\n--- {}",
        "image: {steps: 1}" + " " * 200_000,
        "extends: [starter]",
        "extends: 3",
        "extends: " + "x" * 300,
        "extends: " + "x" * 300 + ".yaml",
        "extends: ~nouser/x.yaml",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_files_that_are_no_settings_end_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    _sentence(lambda: load_config(str(path)))
    _sentence(lambda: picture_config(path, {}))
    assert time.process_time() - began < 4


def test_anchors_merges_and_dotted_keys_are_read_as_yaml_means_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "image: &own {steps: 3, domain_until: 1e-1}\nrefine: {<<: *own, domain_until: 0.2}\nmesh.resolution: 64\n"
        "export: {formats: [glb, stl], lods: [0.5, 1e-1], height_m: 2}\n",
        encoding="utf-8",
    )
    config = load_config(str(path))
    assert (config.image.steps, config.refine.steps, config.refine.domain_until) == (3, 3, 0.2)
    assert (config.image.domain_until, config.mesh.resolution) == (0.1, 64)
    assert (config.export.lods, config.export.height_m) == ([0.5, 0.1], 2.0)


def _write_chain(folder: Path, length: int) -> str:
    for number in range(length):
        extends = f"extends: ./link{number + 1}.yaml\n" if number + 1 < length else ""
        (folder / f"link{number}.yaml").write_text(
            f"{extends}image: {{steps: {number + 1}}}\n", encoding="utf-8"
        )
    return str(folder / "link0.yaml")


def test_a_chain_of_files_is_bounded_and_read_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipcast.configs import loading

    read: list[str] = []

    def counting(path: Path) -> dict[Any, Any]:
        read.append(path.name)
        return original(path)

    original = loading.read_yaml
    monkeypatch.setattr(loading, "read_yaml", counting)
    assert load_config(_write_chain(tmp_path, 20)).image.steps == 1
    assert sorted(read) == sorted({f"link{number}.yaml" for number in range(20)})
    read.clear()
    assert "more than 20 files" in _sentence(lambda: load_config(_write_chain(tmp_path, 300)))
    assert len(read) == 20


@pytest.mark.parametrize(
    "path", ["x" * 300, "x/" * 5000, "~nouser/x", "~nouser", "a\0b"], ids=lambda path: ascii(path[:12])
)
def test_paths_that_cannot_be_are_told(path: str) -> None:
    _sentence(lambda: given_path(path))
    for ending in ("", ".yaml"):
        _sentence(lambda ending=ending: load_config(path + ending))
    _sentence(lambda: picture_config(Path(f"{path}.yaml"), {}))


@pytest.mark.parametrize("role", ["base", "domain", "lift_model"])
@pytest.mark.parametrize("name", ["x" * 300, "~nouser/x", "x/" * 3000])
def test_models_by_paths_that_cannot_be_are_told(role: str, name: str) -> None:
    from slipcast.pipeline.run.models import open_models

    config = load_config("starter", [f"{role}={name}"])
    _sentence(lambda: open_models(config).folder(role))


def test_a_file_that_is_no_text_or_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"image: {view: \xff}")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("bytes.yaml", "folder.yaml"):
        assert name in _sentence(lambda name=name: load_config(str(tmp_path / name)))
        assert name in _sentence(lambda name=name: picture_config(tmp_path / name, {}))


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        ({"weights": {"domain": math.nan}}, "weights.domain"),
        ({"until": {"domain": math.inf}}, "until.domain"),
        ({"conditions": {"style": {"weight": math.nan}}}, "weight"),
        ({"conditions": {"style": {"weight": "much"}}}, "conditions.style.weight"),
        ({"conditions": {"style": 3}}, "conditions.style"),
        ({"conditions": []}, "conditions"),
        ({"balance": math.nan}, "balance"),
        ({"steps": 0}, "steps"),
        ({"count": 257}, "count"),
        ({"seed": -1}, "seed"),
        ({"strength": 0.0}, "strength"),
        ({"negative": "text"}, "negative"),
        ({"negative": [["text"]]}, "negative"),
        ({"weights": {True: 1.0}}, "weights"),
        ({"edit": 3.0, "control": [None]}, "control"),
    ],
)
def test_a_pictures_settings_are_checked_by_the_same_loader(
    layer: dict[str, Any], key: str, tmp_path: Path
) -> None:
    assert key in _sentence(lambda: picture_config(None, layer))


def test_a_pictures_layers_are_merged_by_name(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "weights: {domain: 2, text: 3}\nnegative: [a]\nconditions: {style: {prompt: red, weight: 2}}\n",
        encoding="utf-8",
    )
    config = picture_config(spec, {"weights": {"text": 5.0}, "negative": ["b"]})
    assert config.weights == {"domain": 2.0, "text": 5.0} and config.negative == ["b"]
    assert (config.conditions["style"].prompt, config.conditions["style"].weight) == ("red", 2.0)
    assert asdict(picture_config(None, {})) == asdict(PictureConfig())


_HOSTILE_TEXT = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="[]{}:,&*!<>|%@`'\"#-? \n\\$.=01e_xa", max_size=60),
    st.sampled_from(
        ["&a [*a]", "<<: *a", "!!int x", ".nan", "9" * 5000, "1e999", "[" * 200, "${image.steps}"]
    ),
)
_KEYS = st.one_of(st.sampled_from(sorted(settings_of(MakeConfig))), st.text(max_size=20))
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=6,
)


def _is_valid(config: MakeConfig) -> None:
    """Every value has its setting's type, lies within its limits and can be written down."""
    check_limits(config)
    yaml.safe_dump(asdict(config)).encode("utf-8")
    for key, told in settings_of(MakeConfig).items():
        group, _, name = key.rpartition(".")
        value = getattr(getattr(config, group) if group else config, name)
        default = getattr(getattr(MakeConfig(), group) if group else MakeConfig(), name)
        scheduled = told.hint == Number and isinstance(value, list)
        assert default is None or type(value) is type(default) or scheduled, key


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.builds("{}={}".format, _KEYS, _HOSTILE_TEXT), st.text(max_size=20)), max_size=2))
def test_any_overrides_are_a_config_or_a_sentence(overrides: list[str]) -> None:
    try:
        _is_valid(load_config("starter", overrides))
    except BadInput as error:
        assert "\n" not in str(error) and len(str(error)) < 600


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        _HOSTILE_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=60),
        st.dictionaries(_KEYS, _VALUES, max_size=4).map(lambda content: yaml.safe_dump(content).encode()),
    )
)
def test_any_file_is_a_config_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    for load in (lambda: _is_valid(load_config(str(path))), lambda: picture_config(path, {})):
        try:
            load()
        except BadInput as error:
            assert "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.parametrize("name", ["x" * 50_000, "a\tb", "- " * 3000])
def test_names_that_people_choose_are_shortened_in_sentences(name: str) -> None:
    for layer in (
        {"weights": {name: math.nan}},
        {"conditions": {name: 3}},
        {"conditions": {name: {"weight": "x"}}},
    ):
        assert _sentence(lambda layer=layer: picture_config(None, layer)).isprintable()


@pytest.mark.parametrize("value", [5, 1.5, "x", True, [3], {"a": 3}, None])
def test_every_setting_takes_every_kind_of_value_or_says_what_it_expects(value: Any) -> None:
    """Also a number where names with numbers are wanted, as a damaged manifest has it (benchmarks.hostile)."""
    for name in settings_of(MakeConfig):
        try:
            restore_config({name: value}, source="the manifest")
        except BadInput as error:
            assert "\n" not in str(error) and name in str(error)


@pytest.mark.parametrize("name", ["view", "roughness", "weights"])
def test_a_long_value_of_a_domains_card_is_shortened(name: str, tmp_path: Path) -> None:
    from slipcast.systems.models.uses import uses_of_card

    with pytest.raises(BadInput) as told:
        uses_of_card({name: {"a": ["x" * 500] * 100}}, Path("domain.json"))
    assert len(str(told.value)) < 300 and name in str(told.value)
