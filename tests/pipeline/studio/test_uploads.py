"""What a browser sends is counted while it is read, and no picture is unpacked before its size is known."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

from starlette.testclient import TestClient

from slipcast.configs.errors import BadInput
from slipcast.pipeline.studio import uploads
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.uploads import checked_picture, kept_upload, shown_name


def encoded(kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, (200, 20, 20)).save(held, kind)
    return held.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says to be a large square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "ending"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_pictures_are_kept_under_names_of_our_own_once_each(tmp_path: Path, kind: str, ending: str) -> None:
    data = encoded(kind)
    first = kept_upload("../../../etc/passwd", data, tmp_path / "uploads")
    assert first == kept_upload("again.exe", data, tmp_path / "uploads")
    assert first.parent == tmp_path / "uploads" and first.suffix == ending and first.read_bytes() == data
    assert len(list(tmp_path.rglob("*.*"))) == 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no picture that can be read"),
        (b"<svg onload=alert(1)></svg>", "no picture that can be read"),
        (encoded()[:40], "no picture that can be read"),
        (encoded("GIF"), "no picture that can be read"),
        (encoded("PNG", (64, 64))[:90], "no picture that can be read"),
        (bomb(20000), "400000000 pixels"),
        (bomb(8000), "8000 x 8000 pixels, more than 50 million"),
    ],
)
def test_what_is_no_picture_is_told_in_a_sentence(data: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        kept_upload("<b>cup</b>.png", data, tmp_path)
    assert str(caught.value).startswith("the file <b>cup</b>.png ") and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PICTURE_BYTES", 100)
    with pytest.raises(BadInput, match=r"larger than 0.0001 MB"):
        checked_picture("cup.png", encoded(size=(300, 300)))


def test_names_are_never_paths() -> None:
    assert shown_name("C:\\Users\\me\\cup.png") == "cup.png" and shown_name("/etc/passwd") == "passwd"
    assert shown_name("a\nb\x00.png") == "ab.png" and shown_name(None) == shown_name("") == "the file"


def test_a_form_that_says_to_be_too_large_is_not_read(client: TestClient, desk: Desk) -> None:
    answer = client.post(
        "/make", content=b"", headers={"Content-Length": str(10**12), "Accept": "application/json"}
    )
    assert (answer.status_code, desk.rows()) == (413, [])
    assert answer.json()["error"].startswith("what was sent is larger than the 33 MB")


def test_a_form_that_does_not_say_how_large_it_is_is_counted_while_it_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    monkeypatch.setattr("slipcast.pipeline.studio.make_page.PICTURE_BYTES", 100_000 - 1_000_000)
    sent = 0

    def pieces():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        for _ in range(100):
            sent += 1
            yield b"0" * 10_000

    answer = client.post(
        "/make", content=pieces(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413 and "larger than the 0.1 MB" in answer.text
    assert desk.rows() == []


def test_forms_with_too_many_files_or_fields_or_none_at_all(client: TestClient) -> None:
    files = [("picture", ("a.png", encoded(), "image/png"))] * 3
    assert client.post("/make", files=files).status_code == 400
    assert client.post("/make", data={f"f{i}": "x" for i in range(300)}).status_code == 400
    assert (
        client.post("/make", content=b"nonsense", headers={"Content-Type": "text/plain"}).status_code == 422
    )


def test_a_picture_of_ones_own_is_queued_and_a_broken_one_told_in_place(
    client: TestClient, desk: Desk
) -> None:
    broken = client.post(
        "/make", data={"prompt": "a red cup"}, files={"picture": ("<i>.png", b"no", "image/png")}
    )
    assert broken.status_code == 422 and desk.rows() == []
    assert "&lt;i&gt;.png is no picture" in broken.text and 'id="picture-error"' in broken.text
    assert ">a red cup</textarea>" in broken.text
    sent = client.post("/make", files={"picture": ("cup.png", encoded(), "image/png")})
    assert sent.status_code == 303
    (row,) = desk.rows()
    entry = desk.entry(row.id)
    assert (desk.folder / entry["picture"]).read_bytes() == encoded() and row.until is None


def test_a_chosen_picture_stays_when_another_field_errs_and_can_be_left_out(
    client: TestClient, desk: Desk
) -> None:
    picture = {"picture": ("cup.png", encoded(), "image/png")}
    answer = client.post("/make", data={"prompt": "a cup", "seed": "x"}, files=picture)
    (kept,) = desk.uploads.iterdir()
    assert f'name="kept_picture" value="{kept.name}"' in answer.text and answer.status_code == 422
    assert 'id="to-draw" hidden>' in answer.text and 'id="to-lift">' in answer.text
    assert client.get(f"/uploads/{kept.name}").content == encoded()
    again = {"prompt": "a cup", "kept_picture": kept.name}
    client.post("/make", data=again)
    assert desk.entry(desk.rows()[0].id)["picture"] == f"uploads/{kept.name}"
    client.post("/make", data=again | {"without_picture": "1", "seed": "1"})
    assert "picture" not in desk.entry(desk.rows()[0].id)


@pytest.mark.parametrize(
    "name", ["../studio.jsonl", "..%2Fstudio.jsonl", "x.png", "a" * 32 + ".png", "%2e%2e/x"]
)
def test_uploads_are_read_by_the_names_that_we_gave_alone(client: TestClient, desk: Desk, name: str) -> None:
    desk.submit({"prompt": "a vase"})
    assert client.get(f"/uploads/{name}").status_code == 404
