"""``slipcast image`` on the real starter: files, metadata, seeds, plans, editing, and sentences for bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.configs.atomic import sha256_of_file
from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.paths import given_path
from slipcast.configs.picture import parse_weights, picture_config
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.make import make
from slipcast.systems.models.known import WEIGHTS

FEW = ("--steps", "3")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["image", *arguments])


def drawn(*arguments: str) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture, np.float32)


def test_pictures_and_a_sheet_that_remember_their_recipe() -> None:
    told = drawn(
        "a teapot", *FEW, "--count", "3", "--seed", "7", "--weight", "domain=2", "--until", "domain=0.5"
    )
    assert [Path(path).name for path in told["pictures"]] == [f"in_domain-0007-0{k}.png" for k in (0, 1, 2)]
    with Image.open(told["pictures"][1]) as picture:
        note = json.loads(picture.text["slipcast"])  # pyright: ignore[reportAttributeAccessIssue]
        assert picture.size == (128, 128)
    assert (note["seed"], note["number"], note["slipcast"]["prompt"]) == (7, 1, "a teapot")
    assert note["weights"] == {"domain": 2.0, "text": 3.0}  # the starter's own where none was asked
    assert note["models"]["base"].startswith("2:")
    assert pixels(told["sheet"]).shape[1] > 2 * 128


def test_a_seed_gives_its_pictures_at_any_batch_size_and_a_stochastic_sampler() -> None:
    common = ("a vase", *FEW, "--scheduler", "euler-a")
    three = drawn(*common, "--count", "3", "--out", "three")["pictures"]
    alone = drawn(*common, "--count", "1", "--out", "one")["pictures"]
    # bf16 convolutions round differently at another batch size; a level of 255 or two is all that may change.
    assert np.abs(pixels(three[0]) - pixels(alone[0])).mean() < 2
    assert np.abs(pixels(three[1]) - pixels(alone[0])).mean() > 5


# What make is told -> what slipcast image is told.
SAME = {
    "": (),
    "image.recipe=apg image.weights={text: 3} image.scheduler=euler-a image.background=": (
        "--recipe", "apg", "--weight", "text=3", "--scheduler", "euler-a",
    ),
    "image.domain_until=0.5 domain_strength=0.5 image.negative=[red]": (
        "--until", "domain=0.5", "--domain-strength", "0.5", "--negative", "red",
    ),
    "image.recipe=cfg image.view=back view, left": ("--recipe", "cfg"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("overrides", SAME)
def test_it_previews_the_candidates_of_make_to_the_bit(overrides: str, somewhere: Path) -> None:
    words = [f"image.{part}" for part in overrides.split("image.") if part]
    words = [word for part in words for word in re.split(r" (?=domain_strength)", part.strip())]
    own = {"view": "back view, left"} if "view" in overrides else {}
    own |= {"background": ""} if "background" in overrides else {}
    Path("words.yaml").write_text(json.dumps(own))
    config = load_config("starter", [*words, "image.steps=2", "image.candidates=2"])
    run_folder = make("a porcelain bowl", config, seed=5, until_stage="image").run
    told = drawn(
        "a porcelain bowl", "--as-make", "--seed", "5", "--steps", "2", "--count", "2", "--spec", "words.yaml",
        *SAME[overrides],
    )  # fmt: skip
    with Image.open(run_folder / "10-image" / "candidates.png") as row:
        candidates = np.asarray(row, np.float32)
    assert np.array_equal(candidates, np.concatenate([pixels(path) for path in told["pictures"]], 1))


def test_without_as_make_the_prompt_is_bare_and_words_for_nothing_are_refused() -> None:
    bare = drawn("a vase", "--steps", "1", "--count", "1")["recipe"]["slipcast"]
    assert (bare["view"], bare["background"], bare["scheduler"]) == ("", "", "euler-a")
    asked = drawn("a vase", "--steps", "1", "--count", "1", "--as-make")["recipe"]["slipcast"]
    assert (asked["view"], asked["background"]) == ("front view", "orange background")
    Path("words.yaml").write_text("view: back view\n")
    assert "give it as well" in run("a vase", "--spec", "words.yaml", "--explain").stderr


def test_explain_draws_nothing_and_prints_the_plan(somewhere: Path) -> None:
    result = run("a teapot", "--explain", "--until", "domain=0.5", *FEW)
    assert result.exit_code == 0, result.stderr
    assert "term   text - null, weight 3" in result.stdout
    assert "1 network call (2 branches), then" in result.stdout
    assert not (somewhere / "pictures").exists()
    plan = json.loads(run("a teapot", "--recipe", "cfg", "--weight", "text=1", "--explain", "--json").stdout)
    assert plan["coefficients"]["text"] == dict.fromkeys(plan["coefficients"]["text"], 1.0)
    assert set(plan["rows"]) == {1}  # at weight 1 the base is not even asked


def test_editing_keeps_what_the_mask_keeps() -> None:
    first = drawn("a red plastic mug", *FEW, "--count", "1", "--recipe", "cfg")["pictures"][0]
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (64, 0, 128, 128))
    mask.save("mask.png")
    edited = drawn(
        "a black wooden sofa", "--steps", "8", "--count", "1", "--recipe", "cfg", "--edit", first, "--mask", "mask.png",
        "--strength", "1", "--out", "edited",
    )["pictures"][0]  # fmt: skip
    left, right = np.s_[:, :48], np.s_[:, 80:]
    change = np.abs(pixels(edited) - pixels(first))
    assert change[left].mean() < 6 < change[right].mean()


def test_any_number_of_latents_will_do_and_width_comes_first() -> None:
    """15 x 9 latents: diffusers' UNets bring odd halves back to their size, and so does the domain's."""
    (path,) = drawn("a vase", *FEW, "--count", "1", "--size", "120x72")["pictures"]
    assert pixels(path).shape == (72, 120, 3) and pixels(path).std() > 5


def test_a_picture_is_edited_at_its_own_shape_and_keeps_every_pixel_that_the_mask_keeps() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (75, 130, 3), np.uint8)
    Image.fromarray(photo).save("photo.png")
    mask = np.zeros((75, 130), np.uint8)
    mask[:, 70:] = 255  # up to the last column, beyond which the last cell is filled
    Image.fromarray(mask).save("mask.png")
    asked = ("a red mug", "--steps", "2", "--count", "1", "--recipe", "cfg", "--edit", "photo.png")
    edited = pixels(drawn(*asked, "--mask", "mask.png")["pictures"][0])
    assert edited.shape == (75, 130, 3)
    assert np.array_equal(edited[:, :70], photo[:, :70]) and np.abs(edited - photo)[:, 70:].mean() > 10
    assert pixels(drawn(*asked, "--size", "64", "--seed", "1")["pictures"][0]).shape == (64, 64, 3)


def test_without_a_domain_the_base_draws_alone_and_says_so_once() -> None:
    result = run("a vase", *FEW, "--count", "1", "--domain", "none", "--json")
    assert result.exit_code == 0, result.stderr
    said = "there is no domain beside the base 'starter', so the recipe is cfg"
    assert " ".join(result.stderr.split()).count(said) == 1
    told = json.loads(result.stdout)
    assert (told["recipe"]["slipcast"]["recipe"], told["recipe"]["slipcast"]["domain"]) == ("cfg", "none")
    assert list(told["recipe"]["models"]) == ["base"]
    cfg = drawn("a vase", *FEW, "--count", "1", "--recipe", "cfg")
    assert np.array_equal(pixels(told["pictures"][0]), pixels(cfg["pictures"][0]))


def test_a_base_in_a_folder_has_no_domain_unless_one_is_named() -> None:
    plan = run("a vase", *FEW, "--base", str(WEIGHTS / "prior"), "--explain", "--json")
    assert "domain" not in json.loads(plan.stdout)["coefficients"] and "the recipe is cfg" in plan.stderr
    named = run(
        "a vase", *FEW, "--base", str(WEIGHTS / "prior"), "--domain", "starter", "--explain", "--json"
    )
    assert "domain" in json.loads(named.stdout)["coefficients"] and "recipe is" not in named.stderr


def test_two_models_are_two_conditions_without_any_domain() -> None:
    one = {"prompt": "a vase", "model": str(WEIGHTS / "porcelain-lora"), "weight": 2}
    Path("spec.yaml").write_text(json.dumps({"conditions": {"a": one, "b": one | {"weight": 3}}}))
    plan = run("a vase", *FEW, "--domain", "none", "--spec", "spec.yaml", "--explain", "--json")
    assert plan.exit_code == 0, plan.stderr
    assert {"null", "text", "a", "b"} == set(json.loads(plan.stdout)["coefficients"])
    assert "so the recipe is composable" in " ".join(plan.stderr.split())


def test_a_spec_holds_complex_conditions_and_the_command_line_goes_over_it() -> None:
    Path("spec.yaml").write_text(
        "prompt: a teapot\nsteps: 2\ncount: 1\nconditions:\n  style: {prompt: red, weight: 0.5}\n"
        f"  other: {{model: {WEIGHTS / 'domain'}, weight: 0.25}}\n"
    )
    plan = json.loads(run("--spec", "spec.yaml", "--explain", "--json", "--steps", "4").stdout)
    assert plan["steps"] == 4
    assert {"style", "other", "domain", "text", "null"} == set(plan["coefficients"])
    assert plan["coefficients"]["null"] == dict.fromkeys(plan["coefficients"]["null"], -4.25)


def test_balance_measures_the_weights() -> None:
    told = drawn("a teapot", "--steps", "2", "--count", "1", "--balance", "6")
    weights = told["recipe"]["weights"]
    # The text's own share is half of the total: the reference is the text itself.
    assert weights["text"] == pytest.approx(3.0, abs=0.01)
    assert 0 < weights["domain"] < 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a vase", "--recipe", "in-domian"], "did you mean in_domain"),
        (["a vase", "--weight", "txet=2"], "did you mean text"),
        (["a vase", "--weight", "text"], "expects name=number"),
        (["a vase", "--weight", "text=nan"], "expects name=number"),
        (["a vase", "--scheduler", "dmp++"], "did you mean dpm++"),
        (["a vase", "--steps", "0"], "steps expects at least 1, not 0"),
        (["a vase", "--size", "100"], "must be a multiple of 8 for 'starter', not 100; try 96x96"),
        (["a vase", "--size", "128x100"], "not 128x100; try 128x96"),
        (["a vase", "--size", "128x"], "expects pixels such as 512 or 512x768"),
        (["a vase", "--size", "0"], "expects pixels above 0"),
        (["a vase", "--size", "100000000"], "expects pixels such as 512"),
        (["a vase", "--size", "2048"], "'starter' draws at most 1024 pixels along a side"),
        (["a vase", "--steps", "9" * 40], "steps (from the command line) expects a number that fits 64 bits"),
        (["a vase", "--count", "1000000"], "count expects at most 256"),
        (["a vase", "--control-scale", "nan"], "control_scale expects a finite number"),
        (["a vase", "--balance", "nan"], "balance expects a finite number"),
        (["a vase", "--strength", "nan"], "strength expects a finite number"),
        (["a vase", "--until", "domain=1.5"], "until domain lies between 0 and 1"),
        (["a vase", "--device", "nonsense"], "there is no device 'nonsense'"),
        (["a vase", "--device", "meta"], "there is no device 'meta'"),
        (["a vase", "--device", ""], "there is no device ''"),
        (["207"], "holds no letters"),
        (["a vase for ${oc.env:HOME}"], "nothing else is looked up"),
        (["a vase", "--mask", "m.png"], "give --edit"),
        (["a vase", "--edit", "none.png"], "there is no picture"),
        (["a vase", "--edit", "text.png"], "no picture that can be read"),
        (["a vase", "--edit", "small.png", "--mask", "large.png"], "make them equal"),
        (["a vase", "--edit", "small.png", "--mask", "small.png"], "no white part"),
        (["a vase", "--control", "cany:small.png"], "did you mean canny"),
        (["a vase", "--control", "lineart:small.png"], "the starter ships no ControlNet for lineart"),
        (["a vase", "--control", "file:small.png"], "a control of the kind file names its network"),
        (["a vase", "--control", "canny:small.png:a:b"], "--control expects kind:picture"),
        (["a vase", "--control-end", "1.5"], "control_end expects at most 1"),
        (["a vase", "--control-start", "0.5", "--control-end", "0.5"], "none of the 25 steps lies between"),
        (["a vase", "--control-branches", "both"], "control_branches knows text, all, not 'both'"),
        (
            ["a vase", "--control", "canny:small.png", "--recipe", "rectified"],
            "choose a recipe with the term text",
        ),
        (["a vase", "--control", "canny:small.png:end=2"], "a share of the steps, from 0 to 1, not '2'"),
        (["a vase", "--control", "canny:small.png:start=0.5:end=0.5"], "none of the 25 steps lies between"),
        (["a vase", "--control", "canny:small.png:ends=1"], "did you mean end"),
        (["a vase", "--image-prompt", "none.png"], "there is no picture none.png"),
        (["a vase", "--image-prompt", "small.png"], "`slipcast fetch ip-adapter` downloads it"),
        (["a vase", "--image-prompt", "small.png:a:b"], "--image-prompt expects a picture"),
        (["a vase", "--image-prompt", "small.png:text.png"], "the IP-Adapter text.png cannot be read"),
        (["a vase", "--base", "sd155"], "did you mean sd15"),
        (["a vase", "--base", "sd15"], "slipcast fetch sd15"),
        (["a vase", "--domain", "none", "--recipe", "rectified"], "there is no domain here"),
        (["a vase", "--model", "nowhere/at/all"], "no file or folder"),
        (["a vase", "--recipe", "negative_prompt"], "give --negative"),
        (["a vase", "--spec", "none.yaml"], "expects a YAML file"),
        (["a vase", "--spec", "typo.yaml"], "did you mean steps"),
        ([""], "prompt"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, somewhere: Path
) -> None:
    Image.new("RGB", (32, 32)).save("small.png")
    Image.new("RGB", (64, 64), "white").save("large.png")
    Path("text.png").write_text("no picture")
    Path("typo.yaml").write_text("stpes: 3\n")
    result = run(*arguments, "--explain")
    assert result.exit_code == 2, result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert sentence in " ".join(result.stderr.split()), result.stderr
    assert not list(somewhere.rglob("*-sheet.png"))


def test_types_are_checked_in_files() -> None:
    Path("spec.yaml").write_text("steps: many\n")
    with pytest.raises(BadInput, match=r"steps \(from spec\.yaml\)"):
        picture_config(Path("spec.yaml"), {})
    Path("spec.yaml").write_text("conditions:\n  style: {promt: red}\n")
    with pytest.raises(BadInput, match="did you mean prompt"):
        picture_config(Path("spec.yaml"), {})
    Path("spec.yaml").write_text("- a list\n")
    with pytest.raises(BadInput, match="setting: value"):
        picture_config(Path("spec.yaml"), {})
    assert parse_weights(["a=b=2"], "--and") == {"a=b": 2.0}


def test_other_settings_never_overwrite_a_picture() -> None:
    """Same prompt, same seed: other weights give another file, the same settings the same one."""
    common = ("a vase", *FEW, "--count", "2")
    first = drawn(*common, "--weight", "domain=2")
    before = {path: Path(path).read_bytes() for path in [*first["pictures"], first["sheet"]]}
    other = drawn(*common, "--weight", "domain=1")
    again = drawn(*common, "--weight", "domain=2")
    assert not {*other["pictures"], other["sheet"]} & set(before)
    assert {*again["pictures"], again["sheet"]} == set(before)
    assert all(Path(path).read_bytes() == data for path, data in before.items())


def test_a_picture_remembers_all_that_made_it() -> None:
    Image.new("RGB", (128, 128), "white").save("edges.png")
    lora, control = WEIGHTS / "porcelain-lora", WEIGHTS / "control-canny"
    told = drawn(
        "a vase", *FEW, "--count", "1", "--recipe", "rectified", "--model", str(lora), "--control", "canny:edges.png"
    )  # fmt: skip
    with Image.open(told["pictures"][0]) as picture:
        note = json.loads(picture.text["slipcast"])  # pyright: ignore[reportAttributeAccessIssue]
    assert note["models"]["model"] == sha256_of_file(lora / "pytorch_lora_weights.safetensors")
    assert re.fullmatch("2:[0-9a-f]{64}", note["models"][f"control {control}"])
    assert note["files"] == {"edges.png": sha256_of_file(Path("edges.png"))}
    assert note["computed"]["device"] == "cpu" and note["computed"]["dtype"] in ("float32", "bfloat16")


def test_a_photo_stored_turned_with_an_upright_mask_keeps_every_other_pixel() -> None:
    """The stored photo is 128 x 160; turned by its EXIF it is 160 x 128, as the mask; the middle square is drawn."""
    photo = np.random.default_rng(0).integers(0, 256, (128, 160, 3)).astype(np.uint8)
    notes = Image.Exif()
    notes[0x0112] = 6
    Image.fromarray(photo).transpose(Image.Transpose.ROTATE_90).save("photo.png", exif=notes)
    line = np.zeros((128, 160, 4), np.uint8)
    line[60:63, 40:100] = 255
    Image.fromarray(line).save("line.png")
    path = drawn(
        "a vase", *FEW, "--count", "1", "--recipe", "cfg", "--edit", "photo.png", "--mask", "line.png",
        "--strength", "1",
    )["pictures"][0]  # fmt: skip
    inside = line[..., 3] > 0
    assert np.array_equal(pixels(path)[~inside], photo[~inside])
    assert np.abs(pixels(path)[inside] - photo[inside]).mean() > 5


@pytest.mark.parametrize(
    "content",
    [
        "weights: {text: .nan}", "weights: {text: .inf}", "until: {domain: .nan}", "until: {domain: 2}", "size: 0",
        "conditions: {style: {weight: .nan}}", "balance: .inf", "control_scale: .nan", "lora_scale: .nan",
        "steps: 1000000000000000000000", "count: 100000", "seed: -1", "strength: .nan", "wanted: {red: .nan}",
        "prompt: '...'", 'prompt: "a \\u0007 vase"', "negative: ['!?']", "wanted: {'!': 1}",
        "conditions: {style: {prompt: '...'}}", "prompt: ${oc.env:HOME}", "edit: ~nouser/x", "mask: " + "m" * 300,
        "conditions: null", "negative: [[1]]", "control: [[a]]", "conditions: {style: {control: [[a]]}}",
        "wanted: {a: {b: 1}}", "weights: [1]", "conditions: [a]", "negative: {a: b}", "until: {a: [1]}",
    ],
)  # fmt: skip
def test_a_spec_passes_the_checks_of_the_command_line(content: str) -> None:
    Path("spec.yaml").write_text(content + "\n")
    result = run("--spec", "spec.yaml", "--explain")
    assert result.exit_code == 2, result.stderr
    assert "unexpectedly" not in result.stderr and result.stderr.count("slipcast:") == 1


@pytest.mark.parametrize(
    "option", ["--edit", "--mask", "--control", "--model", "--base", "--domain", "--spec", "--out"]
)
@pytest.mark.parametrize("name", ["n" * 300, "x/" * 3000, "~nouser/x", "nul\0byte"])
def test_paths_that_no_disk_holds(option: str, name: str) -> None:
    given, option = f"canny:{name}" if option == "control" else name, f"--{option}"
    result = run("a vase", option, given, "--explain")
    assert result.exit_code == 2, result.stderr
    assert option in result.stderr and "unexpectedly" not in result.stderr


def test_the_home_folder_is_filled_in(monkeypatch: pytest.MonkeyPatch, somewhere: Path) -> None:
    monkeypatch.setenv("HOME", str(somewhere))
    assert given_path("~/a/b.png", "--edit") == somewhere / "a/b.png"
    Path("spec.yaml").write_text("edit: ~/a.png\ncontrol: ['canny:~/b.png']\nbase: sd15\n")
    config = picture_config(Path("spec.yaml"), {})
    assert (config.edit, config.control, config.base) == (
        str(somewhere / "a.png"), [f"canny:{somewhere / 'b.png'}"], "sd15",
    )  # fmt: skip
