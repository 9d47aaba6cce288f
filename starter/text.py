"""The starter's text side: a word tokenizer and a small CLIP text encoder, both read by transformers as they are."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
MAX_TOKENS = 20


def make_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token per word, lower case, punctuation dropped; words outside the list become one unknown token."""
    specials = [PAD, BOS, EOS, UNKNOWN]
    vocabulary = {word: index for index, word in enumerate([*specials, *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w\s-]"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, vocabulary[BOS]), (EOS, vocabulary[EOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )


def tokens(words: PreTrainedTokenizerFast, captions: list[str]) -> Tensor:
    """Token ids [B, MAX_TOKENS]."""
    padded = words(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return padded.input_ids


def make_text_encoder(
    tokenizer: PreTrainedTokenizerFast, *, width: int = 256, layers: int = 3
) -> CLIPTextModel:
    """A CLIP text transformer sized for a few hundred words; trained jointly with the prior."""
    vocabulary = tokenizer.get_vocab()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=vocabulary[PAD],
        bos_token_id=vocabulary[BOS],
        eos_token_id=vocabulary[EOS],
    )
    return CLIPTextModel(config)
