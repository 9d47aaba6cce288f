"""Domains as one file: there and back the same, and nothing out of a file that somebody made to do harm."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput
from slipcast.pipeline.domains.listing import find_learned, list_domains
from slipcast.pipeline.domains.packing import SUMS, pack, unpack


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIPCAST_DOMAINS", str(tmp_path / "domains"))
    folder = tmp_path / "domains/reds"
    folder.mkdir(parents=True)
    (folder / "domain.json").write_text(json.dumps({"name": "reds", "base": "sd15", "licence": "CC0-1.0"}))
    (folder / "config.json").write_text("{}")
    (folder / "null_text_unet.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "run.py").write_text("print('harm')")
    (folder / ".secret.json").write_text("{}")
    return folder


def test_there_and_back_it_is_the_same_and_equal_domains_are_equal_files(
    tmp_path: Path, domain: Path
) -> None:
    packed = pack(domain, tmp_path / "reds.domain.zip")
    assert pack(domain, tmp_path / "again.domain.zip").read_bytes() == packed.read_bytes()
    back = unpack(packed, name="other reds")
    assert back == tmp_path / "domains/other reds"
    kept = ["config.json", "domain.json", "null_text_unet.safetensors"]
    assert sorted(path.name for path in back.iterdir()) == kept
    assert all((back / name).read_bytes() == (domain / name).read_bytes() for name in kept)
    assert find_learned("other reds") == back
    told = {one["name"]: one for one in list_domains()}
    assert told["reds"]["licence"] == "CC0-1.0" and told["starter"]["kind"] == "domain"
    with pytest.raises(BadInput, match=r"there already, and is never overwritten"):
        unpack(packed, name="reds")
    with pytest.raises(BadInput, match=r"there already"):
        pack(domain, packed)


def made(
    where: Path, files: dict[str, bytes], *, sums: object = None, link: bool = False, deflate: bool = False
) -> Path:
    import hashlib

    with zipfile.ZipFile(where, "w") as file:
        told = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        file.writestr(SUMS, json.dumps(told if sums is None else sums))
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            if link:
                entry.external_attr = 0o120777 << 16
            file.writestr(entry, data, zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED)
    return where


CARD = {"domain.json": b'{"name": "x"}'}


@pytest.mark.parametrize(
    ("files", "options", "sentence"),
    [
        ({"../domain.json": b"{}"}, {}, "not safe to unpack"),
        ({"/etc/domain.json": b"{}"}, {}, "not safe to unpack"),
        ({"a/../../domain.json": b"{}"}, {}, "not safe to unpack"),
        ({"C:\\domain.json": b"{}"}, {}, "not safe to unpack"),
        ({".hidden/domain.json": b"{}"}, {}, "not safe to unpack"),
        ({"domain.json": b"/etc/passwd"}, {"link": True}, "not safe to unpack"),
        ({**CARD, "weights.bin": b"pickle"}, {}, "nothing that a domain holds"),
        ({**CARD, "run.py": b"harm"}, {}, "nothing that a domain holds"),
        ({"config.json": b"{}"}, {}, "holds no domain"),
        (CARD, {"sums": {"domain.json": "0" * 64}}, "is damaged: 'domain.json' is not what"),
        (CARD, {"sums": {}}, "does not hold what its sha256.json lists"),
        (CARD, {"sums": []}, "lists no sums"),
        ({**CARD, "x.safetensors": b"0" * 1000}, {"deflate": True}, "weights 'x.safetensors' are compressed"),
        ({**CARD, "bomb.txt": b"0" * (65 * 10**6)}, {"deflate": True}, "'bomb.txt' would be 65000000 bytes"),
    ],
)
def test_nothing_in_a_file_is_believed(tmp_path: Path, domain: Path, files, options, sentence: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=sentence):
        unpack(made(tmp_path / "bad.domain.zip", files, **options))
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "bad.domain.zip"])


def test_damaged_files_are_told_in_a_sentence(tmp_path: Path, domain: Path) -> None:
    packed = pack(domain, tmp_path / "reds.domain.zip")
    whole = packed.read_bytes()
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:900] + bytes([whole[900] ^ 1]) + whole[901:],
        "empty": b"",
        "text": b"no zip",
    }.items():
        (tmp_path / f"{name}.domain.zip").write_bytes(data)
        with pytest.raises(BadInput, match=f"{name}.domain.zip"):
            unpack(tmp_path / f"{name}.domain.zip")
    with pytest.raises(BadInput, match=r"there is no file"):
        unpack(tmp_path / "gone.zip")
    assert sorted(path.name for path in domain.parent.iterdir()) == ["reds"]


def test_a_folder_without_a_card_is_not_packed(tmp_path: Path, domain: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"is no domain"):
        pack(tmp_path / "empty", tmp_path / "x.zip")
    with pytest.raises(BadInput, match=r"did you mean reds"):
        find_learned("redz")
