"""The server whatever its clients do: it answers each its own, tells the others one sentence, and goes on."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fakes.guidance_clients import Doubled, Running, frame, hello, pictures, serving

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.ports import listening
from slipcast.pipeline.serving import server as server_module
from slipcast.pipeline.serving.server import MOST_CLIENTS
from slipcast.pipeline.serving.token import new_token
from slipcast.pipeline.serving.wire import Gone, receive


@pytest.fixture
def running() -> Iterator[Running]:
    failures: dict[str, BaseException] = {
        "too many": torch.OutOfMemoryError("no memory"),
        "a sentence": SlipcastError("a branch returned NaN"),
        "a fault": ZeroDivisionError("division by zero"),
    }
    with serving(Doubled(failures), largest=1 << 20) as made:
        yield made


def test_two_clients_at_once_get_their_own_answers(running: Running) -> None:
    answers: dict[int, list[bool]] = {0: [], 1: []}

    def client(number: int) -> None:
        with running.connected() as connection:
            for turn in range(20):
                sent = pictures(1 + number, seed=100 * number + turn)
                told, made = running.ask(connection, {"pictures": sent}, ask="score")
                answers[number].append(told["ok"] and torch.equal(made["gradient"], 2 * sent))

    threads = [threading.Thread(target=client, args=(number,)) for number in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: 20 * [True], 1: 20 * [True]}
    kinds = [event["event"] for event in running.events]
    assert kinds.count("joined") == 2 and kinds.count("scored") == 40


HOSTILE = {
    "another program": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "begins with SCG1"),
    "a header of 4 GB": (b"SCG1" + b"\xff" * 12, "is too large"),
    "tensors too large": (frame(hello(), length=1 << 21), "is too large; a header has"),
    "no JSON": (frame(b"{not json"), "the header is no JSON"),
    "no text": (frame(b"\xff\xfe\x00"), "the header is no JSON"),
    "NaN": (frame(b'{"protocol": NaN}'), "NaN is no number"),
    "deeper than any stack": (frame(b"[" * 500_000), "the header is no JSON"),
    "a list": (frame([1]), "should be a JSON object, not a list"),
    "another protocol": (frame(hello() | {"protocol": 2}), "expected protocol 1, not '2'"),
    "no token": (frame({"ask": "hello", "protocol": 1}), "not the server's token"),
    "a wrong token": (frame(hello("guess")), "not the server's token"),
    "a token that is none": (frame(hello() | {"token": ["secret"]}), "not the server's token"),
    "a dtype to run": (
        frame(hello(tensors=[{"name": "t", "dtype": "object", "shape": [1]}])),
        "the dtype float32 or int64",
    ),
    "a negative side": (
        frame(hello(tensors=[{"name": "t", "dtype": "int64", "shape": [-1]}])),
        "a shape of 6 sides at most",
    ),
    "a shape that is none": (
        frame(hello(tensors=[{"name": "t", "dtype": "int64", "shape": "big"}])),
        "a shape of 6 sides at most",
    ),
    "sides beyond the frame": (
        frame(hello(tensors=[{"name": "t", "dtype": "int64", "shape": [1 << 24] * 6}]), b"12345678"),
        "do not make up the frame's 8 bytes",
    ),
    "one name twice": (
        frame(hello(tensors=[{"name": "t", "dtype": "int64", "shape": [1]}] * 2), bytes(16)),
        "a name of its own",
    ),
    "too many tensors": (frame(hello(tensors=[{}] * 9)), "a list of 8 tensors at most"),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_a_frame_that_is_none_is_told_in_a_sentence(running: Running, sent: tuple[bytes, str]) -> None:
    data, said = sent
    with running.connected() as connection:
        connection.sendall(data)
        answer, _ = receive(connection, idle_s=20)
        assert answer["ok"] is False and said in answer["error"] and "\n" not in answer["error"]
        with pytest.raises(Gone):
            receive(connection, idle_s=20)
    assert any(said in event.get("error", "") for event in running.events)
    _still_answers(running)


def test_a_strangers_tensors_are_not_even_read(running: Running) -> None:
    """It promises a megabyte, sends none of it, and is answered at once."""
    promised = [{"name": "pictures", "dtype": "float32", "shape": [1, 1 << 18]}]
    with running.connected() as connection:
        connection.sendall(frame(hello("guess", tensors=promised), length=1 << 20))
        assert "token" in receive(connection, idle_s=5)[0]["error"]


def test_clients_that_go_in_the_middle_or_come_and_say_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = frame(hello(tensors=[{"name": "t", "dtype": "int64", "shape": [4]}]), bytes(32))
    for count in (1, 10, 16, 40, len(whole) - 1):
        with running.connected() as connection:
            connection.sendall(whole[:count])
    with running.connected() as connection:  # goes with its answer unread
        connection.sendall(frame(hello()) * 50)
    running.connected().close()
    _still_answers(running)
    monkeypatch.setattr(server_module, "FIRST_WORD_S", 0.1)
    with running.connected() as silent:
        assert "too slowly" in receive(silent, idle_s=20)[0]["error"]
    _still_answers(running)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("too many", "out of memory; send fewer views"),
        ("a sentence", "a branch returned NaN"),
        ("a fault", "failed unexpectedly (ZeroDivisionError: division by zero)"),
    ],
)
def test_what_fails_at_the_networks_is_told_and_the_connection_goes_on(
    running: Running, prompt: str, said: str
) -> None:
    with running.connected() as connection:
        answer, _ = running.ask(connection, {"pictures": pictures(1)}, ask="score", prompts=[prompt])
        assert answer["ok"] is False and said in answer["error"]
        assert running.ask(connection, ask="hello")[0]["recipe"] == "doubled"


def test_no_more_clients_than_there_is_room_for(running: Running) -> None:
    held = [running.connected() for _ in range(MOST_CLIENTS)]
    for connection in held:
        assert running.ask(connection, ask="hello")[0]["ok"]
    with running.connected() as one_more:
        assert "16 clients already" in receive(one_more, idle_s=20)[0]["error"]
    for connection in held:
        connection.close()
    _still_answers(running)


def test_a_port_in_use_is_told_and_another_may_be_asked_for() -> None:
    with listening(0) as first:
        port = first.getsockname()[1]
        with (
            pytest.raises(
                BadInput, match=rf"the port {port} is in use by another program; --port \d+ is free"
            ),
            listening(port),
        ):
            pass
        assert first.getsockname()[0] == "127.0.0.1"


def test_ctrl_c_ends_the_server_although_clients_wait() -> None:
    with serving(Doubled()) as running:
        connection = running.connected()
        running.ask(connection, ask="hello")
    with connection, pytest.raises(Gone):
        receive(connection, idle_s=5)


def test_the_token_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "token"
    mask = os.umask(0)
    try:
        with new_token(path) as token:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert path.read_text().strip() == token and len(token) > 40
        assert not path.exists()
        with new_token(path) as first, new_token(path) as second:
            assert first != second
        assert not path.exists()
        with new_token(path):  # another server of that port has begun: its token stays
            path.write_text("another's")
        assert path.read_text() == "another's"
    finally:
        os.umask(mask)
    with pytest.raises(BadInput, match="is a folder"), new_token(tmp_path):
        pass
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "somebody's")
    with new_token(link):
        assert not link.is_symlink() and not (tmp_path / "somebody's").exists()


def _still_answers(running: Running) -> None:
    until = time.monotonic() + 60
    while True:
        with running.connected() as connection:
            try:
                assert running.ask(connection, ask="hello")[0]["recipe"] == "doubled"
                return
            except (AssertionError, OSError, Gone, KeyError):
                assert time.monotonic() < until


def test_a_file_that_is_no_token_is_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(BadInput, match="is there already and no token"), new_token(notes):
        pass
    assert notes.read_text() == "mine"
    left = tmp_path / "token"
    left.write_text("x" * 43 + "\n")  # of a server that was killed
    with new_token(left) as token:
        assert left.read_text().strip() == token
    assert not left.exists()
