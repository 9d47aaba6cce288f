"""Image prompts against diffusers' ``load_ip_adapter`` and ``set_ip_adapter_scale``: tiny networks, real layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from fakes.accelerator import ACCELERATOR
from fakes.ip_adapters import image_encoder, ip_adapter
from PIL import Image
from safetensors.torch import load_file, save_file

from slipcast.configs.errors import BadInput
from slipcast.guidance import GuidedNoise, sample
from slipcast.guidance.conditioning import as_conditioning
from slipcast.guidance.image_attention import cross_attentions
from slipcast.guidance.schedulers import scheduler_named
from slipcast.systems.guided.branches import Extra, Ingredients, refuse_unheard
from slipcast.systems.guided.image_prompts import load_image_prompts
from slipcast.systems.guided.lora import with_loras
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.models import precision
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.controlnet import load_controls

STEPS, WEIGHT, SCALE = 4, 3.0, 0.6
CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=0)


@pytest.fixture(autouse=True, scope="module")
def full_precision() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
        yield


@dataclass(frozen=True)
class Shelf:
    """A base in float64, and the folder of adapters, their encoder and pictures; diffusers' pipeline is read anew."""

    place: Path
    base: Base
    kind: str

    def pipe(self) -> Any:
        import diffusers

        cls = {"sd": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}[
            self.kind
        ]
        return tiny.quiet(cls.from_pretrained(self.place / self.kind)).to(dtype=torch.float64)

    def picture(self, number: int = 0) -> Image.Image:
        return Image.open(self.place / f"picture-{number}.png")

    def written(self, kind: str = "plain", number: int = 0, scale: float = SCALE) -> str:
        return f"{self.place / f'picture-{number}.png'}:{self.place / f'{kind}.safetensors'}:{scale}"


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def shelf(
    request: pytest.FixtureRequest, full_precision: None, tmp_path_factory: pytest.TempPathFactory
) -> Shelf:
    place = tmp_path_factory.mktemp("pictures")
    pipe = tiny.stable_diffusion(place) if request.param == "sd" else tiny.sdxl(place)
    pipe.save_pretrained(place / request.param)
    for kind in ("plain", "plus", "full"):
        ip_adapter(place / f"{kind}.safetensors", pipe.unet, kind)
    image_encoder(place / "image_encoder")
    for number, shape in enumerate([(48, 40, 3), (20, 90, 3)]):
        levels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(number))
        Image.fromarray(levels.to(torch.uint8).numpy()).save(place / f"picture-{number}.png")
    base = load_base(place / request.param)
    base.predictor.network.double()
    for name in base.family.encoders:
        getattr(base.pipeline, name).double()
    return Shelf(place, base, request.param)


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def ours(shelf: Shelf, *written: str, **more: Any) -> torch.Tensor:
    made = Ingredients(
        base=shelf.base, prompt="a teapot", size=16, images=load_image_prompts(written, shelf.base), **more
    )
    guided = GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT}))
    return sample(guided, scheduler_named("ddim", shelf.base.pipeline.scheduler), noise(), steps=STEPS)


def theirs(
    shelf: Shelf, *kinds: str, pipe: Any = None, scale: Any = SCALE, pictures: Any = None, **more: Any
) -> Any:
    pipe = pipe or shelf.pipe()
    if kinds:
        pipe.load_ip_adapter(
            str(shelf.place), subfolder="", weight_name=[f"{kind}.safetensors" for kind in kinds]
        )
        pipe.set_ip_adapter_scale(scale)
        more["ip_adapter_image"] = [shelf.picture()] if pictures is None else pictures
    return pipe(
        "a teapot",
        num_images_per_prompt=2,
        height=16,
        width=16,
        num_inference_steps=STEPS,
        guidance_scale=WEIGHT,
        latents=noise(),
        output_type="latent",
        **more,
    ).images


@pytest.mark.parametrize("kind", ["plain", "plus", "full"])
def test_a_picture_is_seen_as_in_diffusers(shelf: Shelf, kind: str) -> None:
    drawn = ours(shelf, shelf.written(kind))
    torch.testing.assert_close(drawn, theirs(shelf, kind), **CLOSE)
    assert (drawn - theirs(shelf)).abs().max() > 1e-2


def test_several_with_scales_of_their_own_are_those_of_diffusers(shelf: Shelf) -> None:
    drawn = ours(shelf, shelf.written("plain", 0, 0.9), shelf.written("plus", 1, 0.3), negatives=("a cup",))
    told = theirs(
        shelf,
        "plain",
        "plus",
        scale=[0.9, 0.3],
        pictures=[shelf.picture(0), shelf.picture(1)],
        negative_prompt="a cup",
    )
    torch.testing.assert_close(drawn, told, **CLOSE)


def test_without_a_picture_a_base_is_to_the_bit_what_it_was(shelf: Shelf) -> None:
    fresh = load_base(shelf.place / shelf.kind)
    fresh.predictor.network.double()
    for name in fresh.family.encoders:
        getattr(fresh.pipeline, name).double()
    ours(shelf, shelf.written())
    assert torch.equal(ours(shelf), ours(Shelf(shelf.place, fresh, shelf.kind)))
    assert torch.equal(ours(shelf, shelf.written(scale=0.0)), ours(shelf))


def test_a_controlnet_beside_it_reads_the_text_alone_as_in_diffusers(shelf: Shelf, tmp_path: Path) -> None:
    import diffusers

    pipe = shelf.pipe()
    network = tiny.controlnet(pipe.unet).double()
    network.save_pretrained(tmp_path / "net")
    shelf.picture().crop((0, 0, 16, 16)).save(tmp_path / "map.png")
    (control,) = load_controls([f"file:{tmp_path / 'map.png'}:{tmp_path / 'net'}"], shelf.base, size=16)
    control.network.double()
    cls: Any = {
        "sd": diffusers.StableDiffusionControlNetPipeline,
        "sdxl": diffusers.StableDiffusionXLControlNetPipeline,
    }[shelf.kind]
    guided = tiny.quiet(cls(**pipe.components, controlnet=network))
    told = theirs(shelf, "plain", pipe=guided, image=Image.open(tmp_path / "map.png"))
    torch.testing.assert_close(ours(shelf, shelf.written(), controls_of_all=(control,)), told, **CLOSE)


def test_a_lora_beside_it_changes_the_same_attention_as_in_diffusers(shelf: Shelf, tmp_path: Path) -> None:
    unet, tensors = shelf.base.predictor.network, dict[str, torch.Tensor]()
    for number, (name, layer) in enumerate(cross_attentions(unet).items()):
        generator = torch.Generator().manual_seed(number)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            rows, columns = layer.get_submodule(part).weight.shape
            tensors[f"unet.{name}.{part}.lora_A.weight"] = torch.randn(2, columns, generator=generator)
            tensors[f"unet.{name}.{part}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) * 0.2
    save_file(tensors, tmp_path / "lora.safetensors")
    adapted = replace(shelf, base=with_loras(shelf.base, [(tmp_path / "lora.safetensors", 0.7)]))
    pipe = shelf.pipe()
    pipe.load_lora_weights(str(tmp_path), weight_name="lora.safetensors", adapter_name="one")
    pipe.set_adapters(["one"], [0.7])
    drawn = ours(adapted, shelf.written())
    torch.testing.assert_close(drawn, theirs(shelf, "plain", pipe=pipe), **CLOSE)
    assert (drawn - ours(shelf, shelf.written())).abs().max() > 1e-2


def test_only_branches_of_the_prompt_see_it_and_all_others_see_no_picture(shelf: Shelf) -> None:
    """By hand on one step: the halves of diffusers' own UNet, told of a picture and of none."""
    (one,) = load_image_prompts([shelf.written()], shelf.base)
    (own,) = load_image_prompts([shelf.written("plus", 1)], shelf.base)
    made = Ingredients(
        base=shelf.base,
        prompt="a teapot",
        size=16,
        images=(one,),
        wanted={"a vase": 1.0},
        unwanted={"a cup": 1.0},
        extras={"shape": Extra("a pot", 1.0, images=(own,))},
    )
    guidance = picture_guidance("composable", made, {})
    refuse_unheard(guidance, made)
    seen = {branch.name: as_conditioning(branch.condition).images for branch in guidance.branches}
    neither = (one.nothing, own.nothing)
    assert seen == {
        "null": neither,
        "text": (one.picture, own.nothing),
        "and a vase": neither,
        "not a cup": neither,
        "shape": (one.nothing, own.picture),
    }


def test_the_prompt_with_its_flaws_sees_the_same_picture_so_that_their_difference_is_the_flaws(
    shelf: Shelf,
) -> None:
    (one,) = load_image_prompts([shelf.written()], shelf.base)
    made = Ingredients(base=shelf.base, prompt="a teapot", size=16, images=(one,), negatives=("blurry",))
    guidance = picture_guidance("bridge", made, {})
    seen = {branch.name: as_conditioning(branch.condition).images for branch in guidance.branches}
    for name, wanted in (("text", one.picture), ("flawed", one.picture), ("null", one.nothing)):
        (image,) = seen[name]
        assert all(torch.equal(image.keys[block], wanted.keys[block]) for block in wanted.keys)


def test_a_picture_that_no_branch_would_see_is_refused(shelf: Shelf) -> None:
    images = load_image_prompts([shelf.written()], shelf.base)
    made = Ingredients(base=shelf.base, prompt="a teapot", size=16, images=images)
    silent = picture_guidance("cfg", Ingredients(base=shelf.base, prompt="a teapot", size=16), {})
    with pytest.raises(BadInput, match="--image-prompt is seen by branches that read text"):
        refuse_unheard(silent, made)


def test_the_encoder_is_the_one_whose_features_fit(shelf: Shelf, tmp_path: Path) -> None:
    adapter = tmp_path / "nets" / "renamed.safetensors"
    adapter.parent.mkdir()
    save_file(load_file(shelf.place / "plus.safetensors"), adapter)
    written = f"{shelf.place / 'picture-0.png'}:{adapter}:{SCALE}"
    with pytest.raises(
        BadInput, match=r"image encoder whose hidden states have 16 numbers, a folder image_encoder"
    ):
        load_image_prompts([written], shelf.base)
    image_encoder(tmp_path / "nets" / "image_encoder", hidden=12)  # beside it, but another adapter's
    with pytest.raises(BadInput, match=r"--image-encoder; the one in .* gives 12$"):
        load_image_prompts([written], shelf.base)
    image_encoder(tmp_path / "image_encoder")
    (beside,) = load_image_prompts([written], shelf.base)
    (named,) = load_image_prompts([written], shelf.base, encoder=str(shelf.place / "image_encoder"))
    for name, keys in beside.picture.keys.items():
        assert torch.equal(keys, named.picture.keys[name])


def test_where_none_is_named_it_is_the_familys_usual_one(shelf: Shelf) -> None:
    name = {"sd": "ip-adapter", "sdxl": "ip-adapter-sdxl"}[shelf.kind]
    with pytest.raises(BadInput, match=f"`slipcast fetch {name}` downloads it"):
        load_image_prompts([str(shelf.place / "picture-0.png")], shelf.base)


def test_what_is_no_adapter_of_this_base_is_one_sentence(shelf: Shelf, tmp_path: Path) -> None:
    picture = shelf.place / "picture-0.png"
    whole = load_file(shelf.place / "plain.safetensors")

    def refused(tensors: dict[str, torch.Tensor] | bytes, match: str, name: str = "net.safetensors") -> None:
        path = tmp_path / name
        path.write_bytes(tensors) if isinstance(tensors, bytes) else save_file(tensors, path)
        with pytest.raises(BadInput, match=match) as told:
            load_image_prompts([f"{picture}:{path}"], shelf.base, encoder=str(shelf.place / "image_encoder"))
        assert "\n" not in str(told.value)

    data = (shelf.place / "plain.safetensors").read_bytes()
    refused(data[:-100], r"the IP-Adapter .* cannot be read \(.*fetch it again")
    refused(data[:20], r"the IP-Adapter .* cannot be read \(.*fetch it again")
    refused(b"\x80\x02}", "is a pickle, .* convert it to safetensors", "net.bin")
    refused({"a.weight": torch.ones(1)}, "is no IP-Adapter: expected weights .* not a.weight")
    refused(whole | {"ip_adapter.0.to_q_lora.down.weight": torch.ones(1)}, "is a FaceID adapter")
    refused(
        whole | {"ip_adapter.99.odd": torch.ones(1)}, r"has too many: 1 weights, such as ip_adapter\.99\.odd"
    )
    refused(whole | {"image_proj.odd": torch.ones(1)}, r"has too many: 1 weights, such as image_proj\.odd")
    refused({k: v for k, v in whole.items() if k != "ip_adapter.3.to_v_ip.weight"}, "lacks 1 weights")
    refused(
        {k: v for k, v in whole.items() if "norm.bias" not in k},
        r"lacks 1 weights, such as image_proj\.norm\.bias",
    )
    refused(
        whole | {"image_proj.proj.bias": torch.full_like(whole["image_proj.proj.bias"], torch.nan)}, "NaN"
    )
    ip_adapter(tmp_path / "other.safetensors", shelf.base.predictor.network, width=20)
    refused(
        load_file(tmp_path / "other.safetensors"),
        r"is an IP-Adapter for a Stable Diffusion that reads text of 20 numbers .* give one made for that base",
    )
    fewer = {k: v for k, v in whole.items() if not k.startswith("ip_adapter.1.")}
    count = len([k for k in whole if k.startswith("ip_adapter")]) // 2
    fewer |= {
        k.replace(f".{2 * count - 1}.", ".1."): v for k, v in whole.items() if f".{2 * count - 1}." in k
    }
    fewer = {k: v for k, v in fewer.items() if f".{2 * count - 1}." not in k}
    refused(fewer, rf"{count - 1} attentions over text, and the base .* {count} attentions over text")
    with pytest.raises(BadInput, match=r"there is no picture gone\.png"):
        load_image_prompts([f"gone.png:{shelf.place / 'plain.safetensors'}"], shelf.base)
    with pytest.raises(BadInput, match=r"holds several, full.safetensors and plain.safetensors"):
        load_image_prompts([f"{picture}:{shelf.place}"], shelf.base)


def test_a_model_of_classes_is_refused(tmp_path: Path) -> None:
    tiny.dit().save_pretrained(tmp_path / "dit")
    with pytest.raises(BadInput, match="draws classes, and there are no IP-Adapters"):
        load_image_prompts(["cup.png"], load_base(tmp_path / "dit"))


def test_on_another_device_they_are_the_same(shelf: Shelf) -> None:
    """Encoder, adapter and what they leave behind: no tensor of two devices meets."""
    said = []
    for device in ("cpu", ACCELERATOR):
        base = load_base(shelf.place / shelf.kind, device=device, dtype="float32")
        images = load_image_prompts([shelf.written("plus"), shelf.written("plain", 1)], base)
        made = Ingredients(base=base, prompt="a teapot", size=16, images=images)
        guided = GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT}))
        eps = guided(noise().float().to(device), torch.tensor([100, 900]).to(device))
        assert eps.device.type == torch.device(device).type
        said.append(eps.cpu())
    torch.testing.assert_close(*said, **CLOSE)


def test_a_model_of_another_family_is_not_shown_what_was_made_for_this_one(shelf: Shelf) -> None:
    (shown,) = load_image_prompts([shelf.written()], shelf.base)
    stranger = replace(shown.picture, text_width=shown.picture.text_width + 1)
    told = as_conditioning(shelf.base.condition(["a pot"])).shown(stranger)
    with pytest.raises(BadInput, match="the image prompts were made for another family of models than"):
        shelf.base.predictor.predict(noise(), torch.tensor([100, 900]), [told])
