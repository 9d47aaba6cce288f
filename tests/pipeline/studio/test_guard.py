"""Nobody but the studio's own pages may use it, and nothing that it answers loads anything from elsewhere."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

from starlette.datastructures import Headers
from starlette.testclient import TestClient

from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.guard import refused

OURS = frozenset({"127.0.0.1:7860", "localhost:7860"})
HOST = {"host": "127.0.0.1:7860"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", HOST),
        ("GET", {"host": "localhost:7860"}),
        (
            "GET",
            HOST | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ),  # a link that leads here
        ("GET", HOST | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}),
        ("POST", HOST | {"origin": "http://127.0.0.1:7860"}),
        ("POST", HOST | {"sec-fetch-site": "same-origin"}),
    ],
)
def test_our_own_pages_are_answered(method: str, headers: dict[str, str]) -> None:
    assert refused(method, Headers(headers), OURS) is None


@pytest.mark.parametrize(
    ("method", "headers", "word"),
    [
        ("GET", {"host": "evil.example"}, "another host"),
        ("GET", {"host": "127.0.0.1:80"}, "another host"),
        ("GET", {"host": "127.0.0.1.evil.example:7860"}, "another host"),
        ("GET", {}, "another host"),
        ("GET", HOST | {"origin": "http://evil.example"}, "another site"),
        ("GET", HOST | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "another site"),
        ("GET", HOST | {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, "another site"),
        ("POST", HOST | {"origin": "http://127.0.0.1:8000"}, "another site"),
        (
            "POST",
            HOST | {"origin": "http://localhost:7860"},
            "another site",
        ),  # both are ours, but not at once
        ("POST", HOST | {"origin": "https://127.0.0.1:7860"}, "another site"),
        ("POST", HOST | {"origin": "null"}, "another site"),
        ("POST", HOST, "own pages"),
        ("POST", HOST | {"sec-fetch-site": "none"}, "own pages"),
        ("DELETE", HOST | {"origin": "http://127.0.0.1:7860"}, "GET and POST"),
    ],
)
def test_all_others_are_refused_in_a_sentence(method: str, headers: dict[str, str], word: str) -> None:
    sentence = refused(method, Headers(headers), OURS)
    assert sentence is not None and word in sentence


def test_a_foreign_form_changes_nothing(client: TestClient, desk: Desk) -> None:
    answer = client.post("/make", data={"prompt": "a vase"}, headers={"Origin": "http://evil.example"})
    assert (answer.status_code, desk.rows()) == (403, [])
    assert client.get("/", headers={"Host": "rebound.example:7860"}).status_code == 403


def test_what_changes_anything_is_no_get(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    for path in ("/make", f"/jobs/{name}/cancel", f"/jobs/{name}/retry", f"/jobs/{name}/pick"):
        assert client.get(path).status_code == 405, path
    assert [row.state for row in desk.rows()] == ["queued"]


@pytest.mark.parametrize("path", ["/", "/jobs", "/nowhere", "/static/studio.css", "/static/nothing.js"])
def test_every_answer_lets_nothing_foreign_in(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'" and policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert "http" not in headers["content-security-policy"] and "*" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_pages_name_no_address_but_their_own(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    for path in ("/", "/jobs", f"/jobs/{name}"):
        text = client.get(path).text
        assert "http://" not in text and "https://" not in text and "//cdn" not in text, path
        assert "<style" not in text and " onclick" not in text and "<script>" not in text, path
