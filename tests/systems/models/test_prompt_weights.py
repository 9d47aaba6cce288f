"""Weights of words and long prompts against the web UI's rule, written out here by hand, on tiny random encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from slipcast.pipeline.cli.app import app
from slipcast.systems.guided.remembered import RemembersTexts
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.families.clip import chunks
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.models.prompt_weights import has_weights, plain_text, sections

UP, DOWN = 1.1, 1 / 1.1


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("a blue vase", [[("a blue vase", 1)]]),
        ("a (blue:1.3) vase", [[("a ", 1), ("blue", 1.3), (" vase", 1)]]),
        ("a (blue) [vase]", [[("a ", 1), ("blue", UP), (" ", 1), ("vase", DOWN)]]),
        ("((a)) b", [[("a", UP * UP), (" b", 1)]]),
        ("(a (b: 2) [c]:1.5)", [[("a ", 1.5), ("b", 3.0), (" ", 1.5), ("c", 1.5 * DOWN)]]),
        (r"a \(b\) \[c\] \\", [[("a (b) [c] \\", 1)]]),
        ("a (b:1) c", [[("a b c", 1)]]),
        ("a (b:-.5)", [[("a ", 1), ("b", -0.5)]]),
        ("a (b (c", [[("a ", 1), ("b ", UP), ("c", UP * UP)]]),
        ("a) b] at 10:30", [[("a) b] at 10:30", 1)]]),
        ("a (b:1.2.3)", [[("a ", 1), ("b:1.2.3", UP)]]),
        ("a BREAK (b BREAK c:2)", [[("a", 1)], [("b", 2)], [("c", 2)]]),
        ("unBREAKable BREAKS", [[("unBREAKable BREAKS", 1)]]),
        ("", [[]]),
    ],
)
def test_the_grammar(prompt: str, meant: list[list[tuple[str, float]]]) -> None:
    read = sections(prompt)
    assert [[text for text, _ in one] for one in read] == [[text for text, _ in one] for one in meant]
    assert [w for one in read for _, w in one] == pytest.approx([w for one in meant for _, w in one])
    assert has_weights(prompt) == (len(meant) > 1 or any(w != 1 for _, w in meant[0]))


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_is_read_and_loses_nothing_but_brackets(prompt: str) -> None:
    assert len(plain_text(prompt)) <= len(prompt)
    if not set("()[]\\") & set(prompt) and "BREAK" not in prompt:
        assert sections(prompt) == ([[(prompt, 1.0)]] if prompt else [[]])


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    place = tmp_path_factory.mktemp("prompts")
    found = {}
    for name, make in {"sd": tiny.stable_diffusion, "sdxl": tiny.sdxl}.items():
        pipe, generator = make(place), torch.Generator().manual_seed(2)
        for encoder in filter(None, (pipe.text_encoder, getattr(pipe, "text_encoder_2", None))):
            for parameter in encoder.parameters():  # fresh norms have no mean to restore
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        pipe.save_pretrained(place / name)
        found[name] = load_base(place / name, dtype="float32")
    return found


def encoders(base: Base) -> list[tuple[Any, Any]]:
    pipe = base.pipeline
    second = [(pipe.tokenizer_2, pipe.text_encoder_2)] if hasattr(pipe, "text_encoder_2") else []
    return [(pipe.tokenizer, pipe.text_encoder), *second]


def by_hand(base: Base, runs: list[list[tuple[str, float]]]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Features [1, T, C] and pooled [1, P] of chunks, each a list of (token, weight), by the rule as it is told."""
    every, pooled = [], None
    for tokenizer, encoder in encoders(base):
        told = []
        for run in runs:
            names = ["<|startoftext|>", *(token for token, _ in run), "<|endoftext|>"]
            weights = [1.0, *(weight for _, weight in run), 1.0]
            names += [tokenizer.pad_token] * (16 - len(names))
            weights += [1.0] * (16 - len(weights))
            ids = torch.tensor([tokenizer.convert_tokens_to_ids(names)])
            with torch.no_grad():
                out = encoder(ids, output_hidden_states=True)
            two = hasattr(base.pipeline, "text_encoder_2")
            z = (out.hidden_states[-2] if two else out.last_hidden_state).double()
            mean = z.mean()
            if any(weight != 1 for weight in weights):
                z = z * torch.tensor(weights).double()[None, :, None]
                z = z * (mean / z.mean())
            told.append(z)
            if run is runs[0] and hasattr(out, "text_embeds"):
                pooled = out.text_embeds
        every.append(torch.cat(told, 1))
    return torch.cat(every, -1).float(), pooled


def letters(word: str, weight: float = 1.0) -> list[tuple[str, float]]:
    return [*((letter, weight) for letter in word[:-1]), (f"{word[-1]}</w>", weight)]


CASES = {
    "a (cat:1.3)": [[*letters("a"), *letters("cat", 1.3)]],
    "[a] ((cat)) dog": [[*letters("a", DOWN), *letters("cat", UP * UP), *letters("dog")]],
    "abcdefgh ijkl (mnopq:1.5)": [
        [*letters("abcdefgh"), *letters("ijkl"), *letters("mnopq", 1.5)[:2]],
        letters("mnopq", 1.5)[2:],
    ],
    "cat BREAK (dog:0.5) fish": [letters("cat"), [*letters("dog", 0.5), *letters("fish")]],
}


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("prompt", CASES)
def test_features_by_the_rule_written_out(bases, kind, prompt) -> None:
    text, pooled = by_hand(bases[kind], CASES[prompt])
    told = bases[kind].condition([prompt])
    torch.testing.assert_close(told.text, text, atol=1e-5, rtol=1e-5)
    if kind == "sdxl":
        torch.testing.assert_close(told.pooled, pooled, atol=1e-6, rtol=1e-6)
    plain = bases[kind].condition([plain_text(prompt)])
    if told.text.shape == plain.text.shape:
        assert (told.text - plain.text).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_short_prompts_of_weight_1_are_those_of_diffusers_to_the_bit(bases, kind) -> None:
    pipe, prompts = bases[kind].pipeline, ["a teapot", "cat dog"]
    with torch.no_grad():
        expected, *rest = pipe.encode_prompt(
            prompts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    told = bases[kind].condition(prompts)
    assert torch.equal(told.text, expected)
    assert torch.equal(bases[kind].condition(["(a teapot:1)", r"cat (dog:1.0)"]).text, expected)
    if kind == "sdxl":
        assert torch.equal(told.pooled, rest[1])


@pytest.mark.parametrize("pad", ["<|endoftext|>", "te"])
def test_ids_of_short_prompts_are_the_tokenizers_own(tmp_path: Path, pad: str) -> None:
    words = tiny.tokenizer(tmp_path)
    words.pad_token = pad  # "!" in Stable Diffusion 2 and in the second encoder of SDXL
    for prompt in ("", "a teapot", "abcdefghijklmn"):
        own = words([prompt], padding="max_length", max_length=16, truncation=True, return_tensors="pt")
        assert torch.equal(chunks(words, prompt).ids, own.input_ids)


def test_a_full_chunk_is_cut_behind_its_last_comma(tmp_path: Path) -> None:
    words = tiny.tokenizer(tmp_path, ",</w>")
    read = chunks(words, "abcdef, ghijklmnop (qr:2)")
    names = [[name.removesuffix("</w>") for name in words.convert_ids_to_tokens(ids)] for ids in read.ids]
    shown = ["".join(name for name in one if len(name) == 1) for one in names]
    assert shown == ["abcdef,", "ghijklmnopqr"]
    assert read.weights.sum(1).tolist() == [16, 18]
    far = chunks(words, "a," + " b" * 13)
    assert len(far.ids) == 2 and (far.ids[1] == words.convert_tokens_to_ids("b</w>")).sum() == 13
    long = tiny.tokenizer(tmp_path, ",</w>")
    long.model_max_length = 30  # more than 20 tokens behind the comma stay where they are
    assert (chunks(long, "a," + " b" * 27).ids[1] == long.convert_tokens_to_ids("b</w>")).sum() == 1


def test_prompts_of_several_lengths_are_one_batch(bases) -> None:
    base = bases["sdxl"]
    long, short = "abcdefgh ijklmnop", "cat"
    both = base.condition([long, short])
    alone = base.condition([long]).text
    assert both.text is not None and alone is not None and alone.shape == (1, 32, 24)
    torch.testing.assert_close(both.text[:1], alone, atol=1e-5, rtol=1e-5)
    text, _ = by_hand(base, [letters("cat"), []])
    torch.testing.assert_close(both.text[1:], text, atol=1e-5, rtol=1e-5)
    told: Any = RemembersTexts(base).condition([long, short, long])
    torch.testing.assert_close(told.text, both.text[[0, 1, 0]], atol=1e-5, rtol=1e-5)


def test_a_list_of_words_says_once_that_it_has_no_weights() -> None:
    base = load_base(WEIGHTS / "prior")
    read, words = "a (red:1.3) vase BREAK front view", "a red vase front view"
    assert torch.equal(base.encode_text([read]), base.encode_text([words]))
    assert base.unknown_words("a (red:1.35) vase") == {}
    assert base.cut_off("red " * 18 + "vase") == "vase" and base.cut_off("(red:1.2) " * 18) == ""
    result = CliRunner().invoke(app, ["image", "a (red:1.3) vase", "--explain"])
    assert result.exit_code == 0
    assert result.stderr.count("weights and BREAK in 'a (red:1.3) vase' are left out") == 1
    assert "does not know" not in result.stderr
