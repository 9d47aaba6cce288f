"""Textual inversion in all layouts against diffusers' ``load_textual_inversion``, on tiny random pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from safetensors.torch import save_file

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.prompt_syntax import unread_syntax
from slipcast.systems.guided.embeddings import add_embedding, file_and_token
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.known import WEIGHTS

MAKERS = {"sd": tiny.stable_diffusion, "sdxl": tiny.sdxl}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embeddings")
    for name, make in MAKERS.items():
        make(folder).save_pretrained(folder / name)
    return folder


def base_of(place: Path, kind: str) -> Base:
    return load_base(place / kind, dtype="float32")


def vectors(count: int, width: int = 12, seed: int = 4) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def theirs(pipe: Any, prompt: str) -> Any:
    return pipe.encode_prompt(
        prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )


def written(path: Path, **tensors: torch.Tensor) -> Path:
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("layout", ["emb_params", "<cat>"])
def test_a_word_of_one_encoder(place, tmp_path, layout, count) -> None:
    path = written(tmp_path / "kitten.safetensors", **{layout: vectors(count)})
    base, pipe = base_of(place, "sd"), tiny.stable_diffusion(tmp_path)
    before = base.encode_text(["a teapot"])
    token = add_embedding(base, path)
    assert token == ("kitten" if layout == "emb_params" else "<cat>")
    with torch.no_grad():
        pipe.load_textual_inversion(str(path), token=token)
        expected = theirs(pipe, f"a {token} te")[0]
    assert torch.equal(base.encode_text([f"a {token} te"]), expected)
    assert torch.equal(base.encode_text(["a teapot"]), before)
    assert (base.encode_text([f"a ({token}:1.5) te"]) - expected).abs().max() > 0.01
    # Twelve letters leave two places: a word of three vectors is not torn apart.
    assert base.encode_text([f"abcdefghijkl {token}"]).shape[1] == (16 if count == 1 else 32)


@pytest.mark.parametrize("count", [1, 2])
def test_a_word_of_both_encoders_of_sdxl(place, tmp_path, count) -> None:
    path = written(tmp_path / "x.safetensors", clip_l=vectors(count), clip_g=vectors(count, seed=5))
    base, pipe = base_of(place, "sdxl"), tiny.sdxl(tmp_path)
    pipe.tokenizer_2 = tiny.tokenizer(tmp_path / "second")
    assert add_embedding(base, path, "<cat>") == "<cat>"
    with torch.no_grad():
        for seed, encoder, tokenizer in (
            (4, pipe.text_encoder, pipe.tokenizer), (5, pipe.text_encoder_2, pipe.tokenizer_2),
        ):  # fmt: skip
            pipe.load_textual_inversion(
                {"<cat>": vectors(count, seed=seed)}, token="<cat>", text_encoder=encoder, tokenizer=tokenizer
            )
        text, _, pooled, _ = theirs(pipe, "a <cat>")
    told: Any = base.condition(["a <cat>"])
    assert torch.equal(told.text, text) and torch.equal(told.pooled, pooled)


def test_a_checkpoint_beside_the_base_knows_the_word_too(place, tmp_path) -> None:
    path = written(tmp_path / "kitten.safetensors", emb_params=vectors(2))
    tuned = tiny.stable_diffusion(tmp_path)
    tuned.unet.conv_out.bias.data += 0.25
    tuned.save_pretrained(tmp_path / "tuned")
    store = ModelStore(MakeConfig(base=str(place / "sd"), embeddings=[str(path)], dtype="float32"))
    model: Any = store.custom(str(tmp_path / "tuned"), print)
    assert model.pipeline.text_encoder is store.base.pipeline.text_encoder
    assert torch.equal(model.encode_text(["a kitten"]), store.base.encode_text(["a kitten"]))
    told = store.identities(["embeddings"])["embeddings"]
    assert told["id"] == str(path) and list(store.hashes.values()) == [told["revision"]]
    assert unread_syntax("a <cat>", ["<cat>"]) == [] != unread_syntax("a <cat>")


def test_a_file_and_its_word(tmp_path) -> None:
    plain, colon = tmp_path / "cat.safetensors", tmp_path / "cat:2"
    plain.touch()
    colon.touch()
    assert file_and_token(str(plain)) == (plain, None)
    assert file_and_token(f"{plain}:<cat>") == (plain, "<cat>")
    assert file_and_token(str(colon)) == (colon, None)
    with pytest.raises(BadInput, match=r"there is no file C:\\cat.pt; --embedding expects FILE or FILE:word"):
        file_and_token(r"C:\cat.pt")


def test_what_is_no_embedding_of_this_base_is_a_sentence(place, tmp_path) -> None:
    sd, sdxl = base_of(place, "sd"), base_of(place, "sdxl")
    one = written(tmp_path / "one.safetensors", emb_params=vectors(1))
    two = written(tmp_path / "two.safetensors", clip_l=vectors(1), clip_g=vectors(1))
    with pytest.raises(
        BadInput, match=r"for Stable Diffusion XL \(12 and 12 numbers a vector\), and the base"
    ):
        add_embedding(sd, two)
    with pytest.raises(BadInput, match=r"\(12 numbers a vector\), and the base .* is Stable Diffusion XL"):
        add_embedding(sdxl, one)
    wide = written(tmp_path / "wide.safetensors", emb_params=vectors(1, 768))
    with pytest.raises(BadInput, match=r"for Stable Diffusion 1 .768 numbers"):
        add_embedding(sd, wide)
    pickle = tmp_path / "one.pt"
    pickle.write_bytes(b"")
    with pytest.raises(BadInput, match=r"is a pickle.* one tensor emb_params"):
        add_embedding(sd, pickle)
    long = written(tmp_path / "long.safetensors", emb_params=vectors(15))
    with pytest.raises(BadInput, match="a word of 15 vectors, of which 14 can be read"):
        add_embedding(sd, long)
    for word in ("te", "two words", "(cat)"):
        with pytest.raises(BadInput, match="give the embedding another"):
            add_embedding(sd, one, word)
    with pytest.raises(BadInput, match="holds no embedding"):
        add_embedding(sd, written(tmp_path / "none.safetensors", a=vectors(1), b=vectors(1)))
    with pytest.raises(BadInput, match="NaN or infinity"):
        add_embedding(sd, written(tmp_path / "nan.safetensors", emb_params=vectors(1) * torch.nan))
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be read as an embedding"):
        add_embedding(sd, tmp_path / "torn.safetensors")
    with pytest.raises(BadInput, match="reads a list of whole words, so it cannot learn"):
        add_embedding(load_base(WEIGHTS / "prior"), one)
