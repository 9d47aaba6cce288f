"""What becomes of valid files in hostile hands: bytes, texts, trees of JSON and chunks, mutated at random.

A mutator takes a random generator and the bytes of a valid file, and gives other bytes.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]

# fmt: off
NUMBERS = [
    b"0", b"-1", b"1e999", b"-1e999", b"NaN", b"Infinity", b"1e-400", b"2" * 400, b"9" * 5000, b"0x10", b"-0.0", b"007",
    b"18446744073709551616", b"1e308", b"1_000", b".5", b"1e", b"--1",
]
TEXTS = [
    b'"\\ud800"', b'"\\u0000"', b'"' + b"x" * 70_000 + b'"', "\u202e花瓶🏺".encode(), b"\xff\xfe", b"\xed\xa0\x80",
    b"\0", b"~nouser/x", b"../../etc/passwd", b"/dev/zero", b"${oc.env:HOME}", b"${image.steps}",
    b"!!python/object:os.system",
    b"&a [*a]", b"<<: *a", b"\r\n\x1b[31m", b"%s%n{0}", b"'", b'"', b"\\", b"\t", b": ", b"- ", b"# ", b"|", b">",
]
NESTED = [
    b"[" * 3000, b"[" * 100_000, b'{"a":' * 3000, b"[" * 3000 + b"]" * 3000, b'{"a":' * 900 + b"1" + b"}" * 900,
    b"- " * 3000, b"{" * 3000,
]
WORDS = [b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b'""', b"~", b"yes", b"[1]", b'{"a": 1}']
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf"), -0.5,
    "", "x", "x" * 300, "x" * 70_000, "\ud800", "\0", "花瓶", "~nouser/x", "../../x", "/dev/zero",
    [], {}, [[]], [None], {"a": 1}, {"": []}, [1] * 1000, {"shape": [1, 2]},
]
# fmt: on


def mutated_bytes(draw: random.Random, content: bytes) -> bytes:
    """Flipped bits, cuts, insertions, repetitions, extreme words."""
    if not content:
        return draw.randbytes(draw.randint(1, 64))
    data, place = bytearray(content), draw.randrange(len(content))
    length = draw.choice([1, 2, 4, 8, 64, 4096])
    kind = draw.randrange(8)
    if kind == 0:
        for _ in range(draw.choice([1, 1, 2, 8, 64])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place:place] = draw.randbytes(length)
    elif kind == 4:
        data[place:place] = data[place : place + length] * draw.choice([1, 2, 50])
    elif kind == 5:  # a number in a header
        place = draw.randrange(min(len(data), draw.choice([16, 64, len(data)])))
        data[place : place + 4] = draw.choice(
            [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0"]
        )
    elif kind == 6:
        return draw.randbytes(draw.choice([0, 1, 8, 100, 10_000]))
    else:
        data += draw.randbytes(length)
    return bytes(data)


def mutated_text(draw: random.Random, content: bytes) -> bytes:
    """Hostile words in place of, or between, those of a text."""
    if draw.random() < 0.2:
        return mutated_bytes(draw, content)
    word = draw.choice(draw.choice([NUMBERS, TEXTS, NESTED, WORDS]))
    separators = [i for i, byte in enumerate(content) if byte in b" :,={}[]\n"]
    if not separators or draw.random() < 0.05:
        return word
    start = draw.choice(separators) + 1
    stop = next((i for i in separators if i > start), len(content))
    if draw.random() < 0.3:
        stop = start
    return content[:start] + word + content[stop:]


def mutated_json(draw: random.Random, content: bytes) -> bytes:
    """Values of other types, sizes and depths at any place of a tree."""
    if draw.random() < 0.3:
        return mutated_text(draw, content)
    return json.dumps(mutated_tree(draw, json.loads(content))).encode("utf-8", "surrogatepass")


def mutated_tree(draw: random.Random, tree: Any) -> Any:
    """A tree with one to three of its places replaced, removed, added to or exchanged."""
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(tree))
        if not places or draw.random() < 0.02:
            return draw.choice(VALUES)
        holder, key = draw.choice(places)
        kind = draw.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[draw.choice(["x", "", "\ud800", "花", "x" * 300, "__class__", "checksum"])] = draw.choice(
                VALUES
            )
        elif kind == 2:
            other, name = draw.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        elif kind == 3 and isinstance(holder[key], int | float):
            holder[key] = draw.choice(
                [-holder[key], holder[key] + 1, holder[key] * 10**9, float(holder[key]), str(holder[key])]
            )
        else:
            holder[key] = json.loads(json.dumps(draw.choice(VALUES)))
    return tree


def _places(tree: Any) -> Any:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(inside):
        yield tree, key
        yield from _places(value)


def mutated_safetensors(draw: random.Random, content: bytes) -> bytes:
    """The header as JSON, its length kept true; numbers that are none in the data; bytes."""
    kind, length = draw.randrange(3), int.from_bytes(content[:8], "little")
    if kind == 0:
        return mutated_bytes(draw, content)
    if kind == 1:
        header = mutated_json(draw, content[8 : 8 + length])
        return len(header).to_bytes(8, "little") + header + content[8 + length :]
    data = bytearray(content)
    for _ in range(draw.choice([1, 4, 100])):
        place = 8 + length + 4 * draw.randrange(max(1, (len(data) - 8 - length) // 4))
        data[place : place + 4] = struct.pack(
            "<f", draw.choice([float("nan"), float("inf"), -1.0, 1e38, 0.0, -float("inf")])
        )
    return bytes(data)


def mutated_glb(draw: random.Random, content: bytes) -> bytes:
    """The JSON chunk as JSON, lengths kept true; or bytes."""
    if draw.random() < 0.3:
        return mutated_bytes(draw, content)
    length = struct.unpack_from("<I", content, 12)[0]
    text = mutated_json(draw, content[20 : 20 + length])
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    return struct.pack("<5I", 0x46546C67, 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def mutated_picture(draw: random.Random, content: bytes) -> bytes:
    """A PNG's chunks with their checksums made true; or bytes of any picture."""
    if not content.startswith(b"\x89PNG") or draw.random() < 0.4:
        return mutated_bytes(draw, content)
    chunks, place = [], 8
    while place + 8 <= len(content):
        length = struct.unpack_from(">I", content, place)[0]
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    at = draw.randrange(len(chunks))
    kind, body = chunks[at]
    changed = draw.choice([mutated_bytes(draw, body), b"", body * 2, draw.randbytes(len(body))])
    chunks[at] = (draw.choice([kind, kind, kind, b"tEXt", b"iCCP", b"tRNS", b"PLTE", b"eXIf"]), changed)
    if draw.random() < 0.2:
        draw.shuffle(chunks)
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
