"""Where models come from: aliases, the hub's cache, moved ids, pickles, downloads, and the names of latent spaces."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from fakes import hub as fake
from fakes import tiny_pipelines
from huggingface_hub import constants

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.cli.fetch import Megabytes, fetch_command
from slipcast.pipeline.run.progress import Lines
from slipcast.systems.models import aliases as sources
from slipcast.systems.models.aliases import MOVED, fetch, is_here, resolve
from slipcast.systems.models.known import ALIASES
from slipcast.systems.models.latent_spaces import latent_space_of
from slipcast.systems.models.weight_files import refuse_pickles, variant_of, wanted

SD15 = ALIASES["sd15"].hub_id
GONE = "runwayml/stable-diffusion-v1-5"
FP16 = ("unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors")
FULL = ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
BINS = ("unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a working folder without models."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A hub that answers from memory; nothing waits between retries."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    made = fake.FakeHub()
    huggingface_hub.set_client_factory(made.client)
    yield made
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


# What is on this disk.


def test_an_alias_and_its_id_are_found_in_the_cache(cache: Path) -> None:
    assert not is_here("sd15")
    folder = fake.put_in_cache(cache, SD15, fake.pipeline_files(*FULL))
    assert resolve("sd15") == resolve(SD15) == folder
    assert is_here("sd15") and not is_here("sdxl")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert resolve(str(tmp_path / "mine")) == tmp_path / "mine"


def test_what_is_not_here_comes_with_the_command_that_gets_it(cache: Path) -> None:
    with pytest.raises(BadInput) as caught:
        resolve("sd15")
    assert all(part in str(caught.value) for part in ("sd15", SD15, str(cache), "`slipcast fetch sd15`"))
    with pytest.raises(
        BadInput, match=r"somebody/something is no folder here.*`slipcast fetch somebody/some"
    ):
        resolve("somebody/something")


def test_a_moved_id_is_found_at_its_mirror_with_a_notice(cache: Path) -> None:
    folder, said = fake.put_in_cache(cache, SD15, fake.pipeline_files(*FULL)), []
    assert resolve(GONE, notice=said.append) == folder
    assert said == [f"{GONE} is gone from the hub; its mirror {SD15} is used instead"]


def test_a_copy_from_before_the_move_still_serves(cache: Path) -> None:
    folder, said = fake.put_in_cache(cache, GONE, fake.pipeline_files(*FULL)), []
    assert resolve("sd15", notice=said.append) == resolve(GONE, notice=said.append) == folder
    assert not said


def test_moves_end_at_ids_that_did_not_move() -> None:
    assert not set(MOVED.values()) & set(MOVED)
    assert not {source.hub_id for source in ALIASES.values()} & set(MOVED)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sd-15", "did you mean sd15"),
        ("sd1.5", "did you mean sd15"),
        ("cany", "did you mean canny"),
        ("startr", "did you mean starter"),
        ("wombat", "known are starter, sd15"),
        ("./models/mine", "there is no file or folder ./models/mine"),
        ("models/mine.ckpt", "there is no file or folder models/mine.ckpt"),
        ("a/b/c", "there is no file or folder a/b/c"),
        ("a/b--..c", "cannot be a hub id"),
    ],
)
def test_names_that_are_none(given: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(given)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "missing"),
    [
        (FULL[:1], "vae"),
        ((), "unet, vae"),
        ((*FULL[1:], "unet/diffusion_pytorch_model-00001-of-00002.safetensors"), "unet"),
        ((*FULL[1:], "unet/diffusion_pytorch_model.non_ema.safetensors"), "unet"),
    ],
)
def test_half_a_model_is_said_to_be_half(cache: Path, weights: tuple[str, ...], missing: str) -> None:
    fake.put_in_cache(cache, SD15, fake.pipeline_files(*weights))
    with pytest.raises(
        BadInput, match=f"in part only, files of {missing} are missing.*`slipcast fetch sd15`"
    ):
        resolve("sd15")
    assert not is_here("sd15")


def test_an_unreadable_index_is_said(cache: Path) -> None:
    fake.put_in_cache(cache, SD15, {"model_index.json": b"{"})
    with pytest.raises(BadInput, match=r"model_index\.json cannot be read"):
        resolve("sd15")


@pytest.mark.parametrize("file", ["config.json", "other.json", "README.md"])
def test_a_single_network_is_half_without_its_weights(cache: Path, file: str) -> None:
    fake.put_in_cache(cache, ALIASES["canny"].hub_id, {file: b"{}"})
    with pytest.raises(BadInput, match="in part only, files of the network are missing"):
        resolve("canny")


def test_shards_make_a_whole(cache: Path) -> None:
    shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    fake.put_in_cache(cache, SD15, fake.pipeline_files(*shards, FP16[1]))
    assert resolve("sd15")


# Pickles.


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (BINS, "unet/diffusion_pytorch_model.bin"),
        ((FULL[0], BINS[1]), "vae/diffusion_pytorch_model.bin"),
        ((*FULL[1:], BINS[0], "unet/diffusion_pytorch_model.non_ema.safetensors"), "unet/diffusion"),
    ],
)
def test_pickles_alone_are_refused_unless_allowed(cache: Path, weights: tuple[str, ...], named: str) -> None:
    folder = fake.put_in_cache(cache, SD15, fake.pipeline_files(*weights))
    with pytest.raises(BadInput, match=r"is a pickle.*convert it to safetensors.*--allow-pickle") as caught:
        resolve("sd15")
    assert named in str(caught.value)
    assert resolve("sd15", allow_pickle=True) == folder


def test_a_pickle_beside_safetensors_or_in_an_unread_part_is_fine(cache: Path) -> None:
    files = fake.pipeline_files(*FULL, *BINS, "safety_checker/pytorch_model.bin", "old.ckpt")
    index = json.loads(files["model_index.json"]) | {"safety_checker": ["stable_diffusion", "Checker"]}
    files["model_index.json"] = json.dumps(index).encode()
    assert fake.put_in_cache(cache, SD15, files) == resolve("sd15")


@pytest.mark.parametrize("suffix", ["bin", "ckpt", "pt", "pth", "pkl", "CKPT"])
def test_single_files_and_single_networks(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "network" / f"weights.{suffix}"
    file.parent.mkdir()
    file.write_bytes(b"")
    for path in (file, file.parent):
        with pytest.raises(BadInput, match=f"weights.{suffix} is a pickle"):
            resolve(str(path))
        refuse_pickles(path, allow_pickle=True)
    (tmp_path / "it.safetensors").write_bytes(b"")
    assert resolve(str(tmp_path / "it.safetensors"))


# What is downloaded.

# The listing of runwayml/stable-diffusion-v1-5, as its duplicates on the hub show it.
SD15_LISTING = """README.md feature_extractor/preprocessor_config.json model_index.json safety_checker/config.json
safety_checker/model.fp16.safetensors safety_checker/model.safetensors safety_checker/pytorch_model.bin
safety_checker/pytorch_model.fp16.bin scheduler/scheduler_config.json text_encoder/config.json
text_encoder/model.fp16.safetensors text_encoder/model.safetensors text_encoder/pytorch_model.bin
text_encoder/pytorch_model.fp16.bin tokenizer/merges.txt tokenizer/vocab.json unet/config.json
unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.bin unet/diffusion_pytorch_model.fp16.safetensors
unet/diffusion_pytorch_model.non_ema.bin unet/diffusion_pytorch_model.non_ema.safetensors
unet/diffusion_pytorch_model.safetensors v1-5-pruned-emaonly.ckpt v1-5-pruned-emaonly.safetensors v1-5-pruned.ckpt
v1-5-pruned.safetensors v1-inference.yaml vae/config.json vae/diffusion_pytorch_model.bin
vae/diffusion_pytorch_model.fp16.bin vae/diffusion_pytorch_model.fp16.safetensors
vae/diffusion_pytorch_model.safetensors vae_1_0/config.json vae_1_0/diffusion_pytorch_model.safetensors
unet/openvino_model.bin unet/model.onnx unet/diffusion_flax_model.msgpack"""
SD15_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


@pytest.mark.parametrize(("full_precision", "dot"), [(False, ".fp16"), (True, "")])
def test_of_stable_diffusion_one_set_of_safetensors_is_wanted(full_precision: bool, dot: str) -> None:
    chosen = wanted(SD15_LISTING.split(), SD15_INDEX, full_precision=full_precision, allow_pickle=False)
    weights = {name for name in chosen if Path(name).suffix not in (".json", ".txt", ".md")}
    network = f"diffusion_pytorch_model{dot}.safetensors"
    assert weights == {f"text_encoder/model{dot}.safetensors", f"unet/{network}", f"vae/{network}"}
    assert {"README.md", "model_index.json", "tokenizer/merges.txt", "unet/config.json"} <= set(chosen)
    assert not any(name.startswith("vae_1_0") for name in chosen)
    assert len(chosen) == len(set(chosen))


def test_of_a_controlnet_the_root_is_wanted() -> None:
    names = [
        "config.json",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.fp16.safetensors",
        "a/b.json",
    ]
    chosen = wanted(names, None, full_precision=True, allow_pickle=True)
    assert chosen == ["config.json", "diffusion_pytorch_model.fp16.safetensors"]


def test_a_fetched_model_is_resolved_without_the_hub(hub: fake.FakeHub, cache: Path, monkeypatch) -> None:
    hub.repos[SD15] = fake.pipeline_files(*FP16, *FULL, *BINS)
    steps: list[tuple[int, int]] = []
    folder = fetch("sd15", lambda done, total: steps.append((done, total)))
    assert folder.is_relative_to(cache)
    assert sorted(hub.served) == sorted(fake.pipeline_files(*FP16))
    total = sum(map(len, fake.pipeline_files(*FP16).values()))
    assert steps[0] == (0, total) and steps[-1] == (total, total)
    assert steps == sorted(steps) and len(steps) > 4
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("sd15") == folder
    assert variant_of(folder) == "fp16"


def test_a_second_fetch_downloads_nothing_and_a_wider_one_the_rest(hub: fake.FakeHub) -> None:
    hub.repos[SD15] = fake.pipeline_files(*FP16, *FULL)
    folder = fetch("sd15")
    hub.served.clear()
    assert fetch("sd15") == folder and not hub.served
    assert fetch("sd15", full_precision=True) == folder
    assert sorted(hub.served) == sorted(FULL)
    assert variant_of(folder) is None


def test_a_broken_download_is_said_and_its_whole_files_are_kept(hub: fake.FakeHub, cache: Path) -> None:
    hub.repos[SD15] = fake.pipeline_files(*FP16)
    hub.breaks_at = 400
    with pytest.raises(SlipcastError, match="files that arrived whole are kept"):
        fetch("sd15")
    with pytest.raises(BadInput, match="in part only"):
        resolve("sd15")
    snapshot = next(cache.glob("*/snapshots/*"))
    kept = {file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*") if file.is_file()}
    hub.breaks_at = None
    hub.served.clear()
    assert fetch("sd15") == snapshot
    assert "model_index.json" in kept and sorted(hub.served) == sorted(set(hub.repos[SD15]) - kept)
    assert all((snapshot / name).read_bytes() == data for name, data in hub.repos[SD15].items())


def test_a_moved_id_is_fetched_from_its_mirror(hub: fake.FakeHub) -> None:
    hub.repos[SD15] = fake.pipeline_files(*FP16)
    said: list[str] = []
    assert fetch(GONE, notice=said.append) == resolve("sd15")
    assert said == [sources.moved_notice(GONE)]


def test_a_repository_of_pickles_is_fetched_only_when_allowed(hub: fake.FakeHub) -> None:
    hub.repos["facebook/DiT-XL-2-256"] = fake.pipeline_files(*BINS)
    with pytest.raises(BadInput, match=r"facebook/DiT-XL-2-256: unet/.* is a pickle.*--allow-pickle"):
        fetch("dit-256")
    assert fetch("dit-256", allow_pickle=True) == resolve("dit-256", allow_pickle=True)


def test_a_repository_without_weights(hub: fake.FakeHub) -> None:
    hub.repos["a/b"] = {"README.md": b"", "big.gguf": b"", "original/model.safetensors": b""}
    with pytest.raises(BadInput, match="a/b: it holds no weights in diffusers' layout"):
        fetch("a/b")


@pytest.mark.parametrize(
    ("refusal", "kind", "told"),
    [
        (
            (403, "GatedRepo"),
            SlipcastError,
            "is gated: accept its terms at https://huggingface.co/a/b, log in",
        ),
        ((401, ""), BadInput, "the hub has no model a/b, or it is private"),
        ((404, "RepoNotFound"), BadInput, "the hub has no model a/b, or it is private"),
        ((403, ""), SlipcastError, "the hub refused a/b with status 403; log in again"),
        ((503, ""), SlipcastError, "the hub refused a/b with status 503; try again later"),
    ],
)
def test_refusals_are_sentences(hub: fake.FakeHub, refusal: tuple[int, str], kind: type, told: str) -> None:
    hub.refusals["a/b"] = refusal
    with pytest.raises(SlipcastError) as caught:
        fetch("a/b")
    assert type(caught.value) is kind
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (fake.http.ConnectError("no\n route"), "https://huggingface.co cannot be reached for a/b (no route)"),
        (fake.http.ReadTimeout("slow"), "cannot be reached for a/b (slow): check the network"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full: free some room, or set HF_HOME"),
        (RuntimeError("xet: No space left on device"), "is full: free some room, or set HF_HOME"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written to; set HF_HOME"),
        (OSError(errno.EIO, "I/O error"), "the download of a/b broke off ([Errno 5] I/O error)"),
    ],
)
def test_failures_are_sentences(hub: fake.FakeHub, failure: Exception, told: str) -> None:
    hub.failure = failure
    with pytest.raises(SlipcastError) as caught:
        fetch("a/b")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_bug_is_not_dressed_up_as_a_download(hub: fake.FakeHub) -> None:
    hub.failure = KeyError("ours")
    with pytest.raises(KeyError, match="ours"):
        fetch("a/b")


def test_offline_says_which_switch_it_was() -> None:
    with pytest.raises(
        SlipcastError, match=r"HF_HUB_OFFLINE is set, so .*v1-5 cannot be downloaded; unset it"
    ):
        fetch("sd15")


def test_offline_a_model_that_is_here_is_good_enough(cache: Path) -> None:
    folder, said = fake.put_in_cache(cache, SD15, fake.pipeline_files(*FP16)), []
    assert fetch("sd15", notice=said.append) == folder
    assert "what was downloaded before is used" in said[0]
    with pytest.raises(SlipcastError, match="HF_HUB_OFFLINE"):
        fetch("sd15", full_precision=True)


def test_there_is_nothing_to_fetch(tmp_path: Path) -> None:
    for name in ("starter", str(tmp_path)):
        with pytest.raises(BadInput, match="there is nothing to fetch"):
            fetch(name)


# The command.


def test_the_last_line_of_stdout_is_the_folder(hub: fake.FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.repos[SD15] = fake.pipeline_files(*FP16) | {FP16[0]: bytes(3_000_000)}
    fetch_command("sd15", False)
    out, err = capfd.readouterr()
    assert out == f"{resolve('sd15')}\n"
    assert "licence creativeml-openrail-m" in err and "fetch sd15: " in err
    fetch_command(GONE, True)
    told = json.loads(capfd.readouterr().out)
    assert told == {"name": GONE, "id": SD15, "folder": str(resolve("sd15"))}


def test_the_bar_counts_megabytes_and_never_by_nothing() -> None:
    opened: list[int] = []
    steps: list[int] = []

    class Console(Lines):
        def task(self, description: str, total: int) -> Any:
            opened.append(total)
            return steps.append

    told = Megabytes(Console())
    for done in (0, 400_000, 1_200_000, 1_300_000, 7_900_000):
        told(done, 7_900_000)
    assert opened == [7] and steps == [1, 6]


def test_without_a_name_the_aliases_are_listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake.put_in_cache(cache, SD15, fake.pipeline_files(*FULL))
    fetch_command(None, False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ALIASES)
    assert lines[0].startswith("here  sd15") and not any(line.startswith("here") for line in lines[1:])
    fetch_command(None, True)
    told = json.loads(capsys.readouterr().out)
    one = ALIASES["sd15"]
    assert told["sd15"] == {
        "hub_id": one.hub_id,
        "sentence": one.sentence,
        "licence": one.licence,
        "here": True,
    }
    assert not told["sdxl"]["here"]


# What diffusers makes of it.


def test_diffusers_loads_what_a_fetch_leaves(tmp_path: Path) -> None:
    """fp16 in one part, full precision in the other, and no pickles: the variant we name is the one it needs."""
    from diffusers import StableDiffusionPipeline

    made = tiny_pipelines.stable_diffusion(tmp_path)
    made.save_pretrained(tmp_path / "model")
    unet = tmp_path / "model" / "unet"
    assert variant_of(tmp_path / "model") is None
    for file in unet.glob("*.safetensors"):
        file.rename(unet / "diffusion_pytorch_model.fp16.safetensors")
    assert variant_of(tmp_path / "model") == "fp16"
    loaded = StableDiffusionPipeline.from_pretrained(
        resolve(str(tmp_path / "model")), variant="fp16", use_safetensors=True, safety_checker=None
    )
    assert latent_space_of(loaded.vae) == latent_space_of(made.vae)
    assert torch.equal(loaded.unet.conv_in.weight, made.unet.conv_in.weight)


def _vae(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return tiny_pipelines.vae()


def test_equal_weights_are_one_latent_space_at_any_precision(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    name = latent_space_of(_vae())
    assert name == latent_space_of(_vae()) == latent_space_of(_vae().half())
    assert name == latent_space_of(_vae().to(memory_format=torch.channels_last))
    _vae().half().save_pretrained(tmp_path, variant="fp16")
    assert latent_space_of(AutoencoderKL.from_pretrained(tmp_path, variant=variant_of(tmp_path))) == name


def test_a_decoder_tuned_alone_stays_in_the_space_and_an_encoder_leaves_it() -> None:
    name = latent_space_of(_vae())
    with torch.no_grad():
        (tuned := _vae()).decoder.conv_in.weight.add_(1)
        tuned.post_quant_conv.bias.add_(1)
        (other := _vae()).encoder.conv_out.bias[0] += 0.1
    assert latent_space_of(tuned) == name
    assert latent_space_of(other) != name != latent_space_of(_vae(1))


@pytest.mark.parametrize("setting", [{"scaling_factor": 0.13025}, {"shift_factor": 0.1}])
def test_another_scaling_is_another_space(setting: dict[str, float]) -> None:
    (scaled := _vae()).register_to_config(**setting)
    assert latent_space_of(scaled) != latent_space_of(_vae())


def test_a_codec_without_an_encoder_is_named_by_all_its_weights() -> None:
    from slipcast.systems.models.patch_codec import PatchCodec

    one, two = PatchCodec(width=8, layers=1), PatchCodec(width=8, layers=1)
    two.load_state_dict(one.state_dict())
    assert latent_space_of(one) == latent_space_of(two)
    two.scale[0] = 2
    assert latent_space_of(one) != latent_space_of(two)


def test_the_module_itself_imports_neither_torch_nor_the_hub() -> None:
    script = (
        "import sys, slipcast.systems.models.aliases; print({'torch', 'huggingface_hub'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_an_alias_of_single_files_fetches_and_finds_these_alone(hub: fake.FakeHub, cache: Path) -> None:
    files = ALIASES["ip-adapter-sdxl"].files
    hub.repos["h94/IP-Adapter"] = {
        name: name.encode() for name in (*files, "models/ip-adapter_sd15.bin", "README.md")
    }
    with pytest.raises(BadInput, match="`slipcast fetch ip-adapter-sdxl` downloads it"):
        resolve("ip-adapter-sdxl")
    path = fetch("ip-adapter-sdxl")
    assert path.as_posix().endswith("sdxl_models/ip-adapter_sdxl_vit-h.safetensors")
    assert sorted(hub.served) == sorted(files)
    assert resolve("ip-adapter-sdxl") == path and (path.parent.parent / "models/image_encoder").is_dir()
    with pytest.raises(
        BadInput, match=r"here in part only, files of models/ip-adapter_sd15\.safetensors are missing"
    ):
        resolve("ip-adapter")
    with pytest.raises(BadInput, match=r"h94/IP-Adapter has no models/ip-adapter_sd15\.safetensors any more"):
        fetch("ip-adapter")


def test_two_networks_of_one_repository_are_two_models(cache: Path) -> None:
    folder = fake.put_in_cache(cache, "tomjackson2023/rembg", {"isnet-general-use.onnx": b"network"})
    assert resolve("isnet") == folder / "isnet-general-use.onnx"
    with pytest.raises(
        BadInput, match=r"u2net .*in part only, files of u2net.onnx are missing.*fetch u2net`"
    ):
        resolve("u2net")
