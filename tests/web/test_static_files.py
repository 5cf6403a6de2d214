"""The page's files, and the security headers of every answer."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from pulse.server.http1 import CONTENT_SECURITY_POLICY
from pulse.settings import Settings
from tests.support.web import SETTINGS, Web, on_server_loop, serving
from tests.support.websockets import raw_socket, raw_websocket, read_to_end


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    """Return a folder with a page, a script and a vendored library, beside a file that must not be served."""
    (tmp_path / "secret.txt").write_text("not for you")
    root = tmp_path / "static"
    (root / "vendor" / "chart-1.2.3").mkdir(parents=True)
    (root / "index.html").write_text(
        '<!doctype html><title>Pulse</title><script type="module" src="./app.js"></script>'
    )
    (root / "app.js").write_text("export {};")
    (root / "package.json").write_text("not for you")
    (root / "vendor" / "chart-1.2.3" / "chart.mjs").write_text("export {};")
    return root


@asynccontextmanager
async def browsing(static_dir: Path, settings: Settings = SETTINGS) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client whose base URL is a server of these files."""
    async with serving(settings, static_dir=static_dir) as web, aiohttp.ClientSession(web.url) as client:
        yield client


@on_server_loop
async def test_page_is_at_the_root(static_dir: Path) -> None:
    """/ is index.html; other files have their own paths."""
    async with browsing(static_dir) as client, client.get("/") as page, client.get("/app.js") as script:
        assert (page.status, page.content_type) == (200, "text/html")
        assert "<title>Pulse</title>" in await page.text()
        assert (script.status, script.content_type) == (200, "text/javascript")


@on_server_loop
async def test_unchanged_file_is_not_sent_again(static_dir: Path) -> None:
    """Own files are revalidated and give 304; vendored ones are cached for ever."""
    async with browsing(static_dir) as client:
        async with client.get("/app.js") as script:
            tag, kept = script.headers["ETag"], script.headers["Cache-Control"]
        async with client.get("/app.js", headers={"If-None-Match": tag}) as again:
            assert (again.status, again.headers["Cache-Control"]) == (304, "no-cache")
        async with client.get("/vendor/chart-1.2.3/chart.mjs") as vendored:
            assert "immutable" in vendored.headers["Cache-Control"]

    assert kept == "no-cache"


@on_server_loop
async def test_files_are_compressed_for_those_who_take_it(static_dir: Path) -> None:
    """With a tag of their own, and for caches in between a note of what the answer depends on."""
    (static_dir / "long.js").write_text("a();\n" * 1000)
    async with serving(static_dir=static_dir) as web, aiohttp.ClientSession(web.url, auto_decompress=False) as client:
        async with client.get("/long.js", headers={"Accept-Encoding": "gzip"}) as short:
            assert (short.headers["Content-Encoding"], short.headers["Vary"]) == ("gzip", "Accept-Encoding")
            assert int(short.headers["Content-Length"]) < 100
        async with client.get("/long.js", headers={"Accept-Encoding": "gzip;q=0"}) as plain:
            assert (await plain.read(), "Content-Encoding" in plain.headers) == (b"a();\n" * 1000, False)
        tags = short.headers["ETag"], plain.headers["ETag"]
        async with client.head("/long.js", headers={"Accept-Encoding": "gzip", "If-None-Match": tags[0]}) as again:
            assert again.status == 304

    assert tags[0] == tags[1][:-1] + '-gzip"'


@on_server_loop
async def test_versioned_files_are_everyone_s(static_dir: Path) -> None:
    """What the page refers to is served without a token, and may be kept for ever."""
    async with browsing(static_dir, replace(SETTINGS, token="t" * 20)) as client:
        async with client.get("/") as page:
            address = re.findall(r'src="\.(/v-\w+/page\.js)"', await page.text())
        async with client.get(address[0]) as script, client.get("/v-0/page.js") as other:
            assert (script.status, other.status) == (200, 401)
            assert "immutable" in script.headers["Cache-Control"]


@pytest.mark.proves("files")
@pytest.mark.parametrize(
    "path",
    [
        "/package.json",
        "/nothing.js",
        "/vendor",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/a%00b",
    ],
)
@on_server_loop
async def test_path_that_is_no_file_of_the_page_is_not_found(static_dir: Path, path: str) -> None:
    """No path leaves the folder, and folders are not listed."""
    async with serving(static_dir=static_dir) as web:
        answer = await raw_get(web, path)

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"application/problem+json" in answer
    assert b"not for you" not in answer


async def raw_get(web: Web, path: str) -> bytes:
    """Request a path exactly as written and return the whole answer."""
    client = await raw_socket(web.port)
    client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await read_to_end(client)
    client.close()
    return answer


@on_server_loop
async def test_page_is_read_only(static_dir: Path) -> None:
    """HEAD has the headers without the body; other methods get 405 with the allowed ones."""
    async with browsing(static_dir) as client, client.head("/app.js") as head, client.post("/app.js") as post:
        assert (head.status, head.headers["Content-Length"], await head.read()) == (200, "10", b"")
        assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.proves("headers")
@pytest.mark.parametrize(
    "path",
    ["/", "/app.js", "/nothing", "/orderbook", "/orderbook?symbol=x", "/api/ohlcv", "/api/ohlcv?limit=x",
     "/api/symbols", "/asyncapi.json", "/healthz", "/readyz", "/metrics", "/ws/orderbook"],
)  # fmt: skip
@on_server_loop
async def test_every_answer_has_security_headers(static_dir: Path, path: str) -> None:
    """Pages, data and errors alike."""
    async with browsing(static_dir) as client, client.get(path) as answer:
        headers = answer.headers

    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Server" not in headers


@on_server_loop
async def test_upgrade_has_security_headers() -> None:
    """The 101 answer of a WebSocket carries them as well."""
    async with serving() as web:
        client, head = await raw_websocket(web.port)
        client.close()

    assert head.startswith("HTTP/1.1 101")
    assert "content-security-policy: default-src 'none'" in head.lower()


@on_server_loop
async def test_data_is_shared_with_allowed_origins(static_dir: Path) -> None:
    """Once other origins are allowed, they may read the API and the book, but not embed the page."""
    settings = replace(SETTINGS, allowed_origins=("https://friend.example",))
    async with browsing(static_dir, settings) as client:
        policies = {}
        for path in ("/api/symbols", "/orderbook", "/app.js"):
            async with client.get(path) as answer:
                policies[path] = answer.headers["Cross-Origin-Resource-Policy"]

    assert policies == {"/api/symbols": "cross-origin", "/orderbook": "cross-origin", "/app.js": "same-origin"}
