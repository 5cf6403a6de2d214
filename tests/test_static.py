"""The page's files as they lie in `static/`: nothing from elsewhere, nothing inline, vendored files as fetched.

Runs the pure modules' own tests with Node as well. It needs no network and starts no server and no browser.
"""

import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"
NODE_TIMEOUT_S = 60
LINES_MAX = 400

OWN = sorted(
    path for path in STATIC.rglob("*") if path.is_file() and path.suffix != ".png" and VENDOR not in path.parents
)
MODULES = [path for path in OWN if path.suffix == ".js" and path.name != "config.js"]
ATTRIBUTION = "https://www.tradingview.com/"  # the chart's licence asks for this link on the page
SVG_NAMESPACE = "http://www.w3.org/2000/svg"  # a name; no browser fetches it
PLACEHOLDERS = ("https://pulse.example.org", "wss://pulse.example.org")  # in config.js's explanation
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\s*[\"']style|cssText"
)


def named(path: Path) -> str:
    """A file's name as a test's name."""
    return path.relative_to(STATIC).as_posix()


class Page(HTMLParser):
    """Collects a page's elements as (tag, attributes) and the text inside script and style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keeps text that is code."""
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture(scope="module")
def page() -> Page:
    """The page, parsed."""
    parsed = Page()
    parsed.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parsed


def test_the_pure_modules_pass_their_own_tests() -> None:
    """`node --test` passes on the modules that need no browser; a machine without Node is told what to install."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js is missing: install version 18 or newer (apt-get install nodejs) to test static/")
    tests = sorted(str(path) for path in (ROOT / "tests" / "static").glob("*.test.mjs"))
    command = [node, "--test", *tests]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=NODE_TIMEOUT_S, check=False)

    assert tests
    assert result.returncode == 0, result.stdout + result.stderr


def test_vendored_files_are_the_fetched_ones() -> None:
    """Every third-party file has the checksum of the manifest, and there is none the manifest does not know."""
    packages = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]
    listed = {f"{p['folder']}/{name}": digest for p in packages for name, digest in p["files"].items()}
    present = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.parent != VENDOR and "__pycache__" not in path.parts
    }

    assert present == listed


def test_each_vendored_package_has_its_licence_and_version() -> None:
    """Folders carry the exact version, so that a browser may keep them for ever, and the licence lies beside."""
    for package in json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]:
        assert package["folder"] == f"{package['name']}-{package['version']}"
        assert "LICENSE" in package["files"]
        assert re.fullmatch(r"[0-9a-f]{128}", package["tarball_sha512"])


def test_the_charts_notice_and_link_are_on_the_page(page: Page) -> None:
    """The chart's licence is met: its notice and a link to its makers stand on the page."""
    notice = (VENDOR / "lightweight-charts-5.2.1" / "NOTICE").read_text(encoding="utf-8")
    text = (STATIC / "index.html").read_text(encoding="utf-8").replace("&trade;", "\u2122")

    assert ("a", ATTRIBUTION) in [(tag, attributes.get("href")) for tag, attributes in page.elements]
    for part in notice.replace(ATTRIBUTION, "").splitlines():
        assert part.strip() in text


@pytest.mark.parametrize("path", OWN, ids=named)
def test_no_file_names_another_host(path: Path) -> None:
    """Nothing is loaded from, or sent to, any host but the page's own."""
    text = path.read_text(encoding="utf-8")
    hosts = set(re.findall(r"(?:https?|wss?)://[^\s\"'`<>)}]+", text)) | set(re.findall(r"[\"'(]//[\w.-]+", text))

    assert hosts <= {ATTRIBUTION, SVG_NAMESPACE, *PLACEHOLDERS}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_module_makes_markup_or_code_from_text(path: Path) -> None:
    """Names from outside reach the page as text only, and nothing asks for what the content policy forbids."""
    assert not FORBIDDEN.search(path.read_text(encoding="utf-8"))


def test_the_page_has_nothing_inline(page: Page) -> None:
    """No script, style, style attribute or event attribute in the page: the policy allows files only."""
    attributes = [name for _, found in page.elements for name in found]

    assert page.inline == []
    assert not any(name == "style" or name.startswith("on") for name in attributes)


def test_the_page_works_wherever_its_folder_is_served(page: Page) -> None:
    """Everything the page loads is a relative path to a file that is there."""
    loaded = [found.get("src") or found.get("href") for tag, found in page.elements if tag in ("script", "link", "img")]

    assert loaded
    for reference in loaded:
        assert reference is not None
        assert reference.startswith("./")
        assert (STATIC / reference).is_file()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_import_downward(path: Path) -> None:
    """Imports are relative files that exist, and no panel knows another panel."""
    sources = re.findall(r"^(?:import|export)[^;]*? from \"([^\"]+)\";", path.read_text(encoding="utf-8"), re.M)

    for source in sources:
        target = (path.parent / source).resolve()
        assert target.is_file()
        assert path.name == "app.js" or target.parent.name != "panels"


def test_every_key_is_on_the_help_sheet() -> None:
    """What keys.js takes, and what a control names as its key, stands in the sheet that tells the keys."""
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    taken = re.findall(r'key === "(.)"', (STATIC / "keys.js").read_text(encoding="utf-8"))
    named_keys = re.findall(r'aria-keyshortcuts="([^"]+)"', html)
    told = set(re.findall(r"<kbd>([^<]+)</kbd>", html[html.index('<dl class="keys">') :]))

    assert "p" in taken
    assert {key.replace(" ", "Space") for key in taken} | set(named_keys) <= told


def test_hooks_are_unique(page: Page) -> None:
    """Each `id` and each `data-testid` of the page names one element."""
    for attribute in ("id", "data-testid"):
        values = [found[attribute] for _, found in page.elements if attribute in found]

        assert len(values) == len(set(values))


def test_one_module_alone_asks_for_animation_frames() -> None:
    """Everything is painted in one frame: only schedule.js knows requestAnimationFrame."""
    users = [path.name for path in MODULES if "requestAnimationFrame" in path.read_text(encoding="utf-8")]

    assert users == ["schedule.js"]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_say_what_they_are_and_stay_small(path: Path) -> None:
    """Each module begins with what lives in it, and fits the house's measure."""
    lines = path.read_text(encoding="utf-8").splitlines()

    assert lines[0].startswith("// ")
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["text", "muted", "bid", "ask", "amber", "blue-text"])
def test_colours_can_be_read(name: str) -> None:
    """Every colour that text has stands at least 4.5:1 against the panel it is on."""
    text = (STATIC / "styles" / "variables.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))
    light, dark = luminance(colours[name]), luminance(colours["panel"])

    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
