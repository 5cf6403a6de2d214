"""The files of `static/`: no other hosts, nothing inline, vendored files unchanged, and the tests that run under Node.

It needs no network and starts no server and no browser.
"""

import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pulse.market.intervals import INTERVALS

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"
PANELS = STATIC / "panels"
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
    """Return a file's path inside `static/` as the test's name."""
    return path.relative_to(STATIC).as_posix()


class Page(HTMLParser):
    """Collects a page's elements as (tag, attributes) and the text inside script and style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text that is code."""
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture(scope="module")
def page() -> Page:
    """Return the parsed page."""
    parsed = Page()
    parsed.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parsed


def test_the_node_tests_pass() -> None:
    """`node --test` passes on the modules that need no browser."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js is missing: install version 18 or newer (apt-get install nodejs) to test static/")
    tests = sorted(str(path) for path in (ROOT / "tests" / "static").glob("*.test.mjs"))
    command = [node, "--test", *tests]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=NODE_TIMEOUT_S, check=False)

    assert tests
    assert result.returncode == 0, result.stdout + result.stderr


def test_vendored_files_match_the_manifest() -> None:
    """Every third-party file has its checksum in the manifest, and no other file is there."""
    packages = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]
    listed = {f"{p['folder']}/{name}": digest for p in packages for name, digest in p["files"].items()}
    present = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.parent != VENDOR and "__pycache__" not in path.parts
    }

    assert present == listed


def test_each_vendored_package_has_its_licence_and_version() -> None:
    """Folder names contain the exact version, so that a browser may cache them forever, and the licence is in them."""
    for package in json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]:
        assert package["folder"] == f"{package['name'].strip('@').replace('/', '-')}-{package['version']}"
        assert "LICENSE" in package["files"]
        assert re.fullmatch(r"[0-9a-f]{128}", package["tarball_sha512"])


def test_the_chart_s_types_are_of_the_vendored_version() -> None:
    """The type check reads the types of exactly the chart library that the page loads."""
    packages = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]

    assert {p["name"]: p["version"] for p in packages}["lightweight-charts"] == wanted["lightweight-charts"]


def test_the_javascript_lock_file_has_hashes_and_no_address() -> None:
    """Any registry or mirror can serve the locked packages; `npm run lock` writes such a file."""
    text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}

    assert "://" not in text
    assert "resolved" not in text
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


def test_the_chart_s_notice_and_link_are_on_the_page(page: Page) -> None:
    """The chart's licence is met: its notice and a link to its makers are on the page."""
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
def test_no_module_creates_markup_or_code_from_text(path: Path) -> None:
    """Names from outside become text nodes only, and no module uses what the content policy forbids."""
    assert not FORBIDDEN.search(path.read_text(encoding="utf-8"))


def test_the_page_has_nothing_inline(page: Page) -> None:
    """No script, style, style attribute or event attribute in the page: the policy allows files only."""
    attributes = [name for _, found in page.elements for name in found]

    assert page.inline == []
    assert not any(name == "style" or name.startswith("on") for name in attributes)


def test_the_page_loads_only_relative_paths(page: Page) -> None:
    """Everything the page loads is a relative path to an existing file."""
    loaded = [found.get("src") or found.get("href") for tag, found in page.elements if tag in ("script", "link", "img")]

    assert loaded
    for reference in loaded:
        assert reference is not None
        assert reference.startswith("./")
        assert (STATIC / reference).is_file()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_import_downward(path: Path) -> None:
    """Imports are relative paths of existing files; a panel's own modules are imported by that panel alone."""
    sources = re.findall(r"^(?:import|export)[^;]*? from \"([^\"]+)\";", path.read_text(encoding="utf-8"), re.M)

    for source in sources:
        target = (path.parent / source).resolve()
        assert target.is_file()
        assert target.parent == path.parent or PANELS not in target.parents or target == PANELS / "table.js"


def test_every_key_is_in_the_help() -> None:
    """Every key of keys.js, and every key that a control names, is listed in the help dialog."""
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    taken = re.findall(r'key === "(.)"', (STATIC / "keys.js").read_text(encoding="utf-8"))
    named_keys = re.findall(r'aria-keyshortcuts="([^"]+)"', html)
    listed = set(re.findall(r"<kbd>([^<]+)</kbd>", html[html.index('<dl class="keys">') :]))

    assert "p" in taken
    assert {key.replace(" ", "Space") for key in taken} | set(named_keys) <= listed


def test_the_page_offers_every_interval_of_the_server() -> None:
    """Its names and their lengths in seconds are the server's; a month has no fixed length."""
    text = (STATIC / "intervals.js").read_text(encoding="utf-8")
    offered = re.findall(r'name: "(\w+)", title: "[^"]+", stepSeconds: ([\d_]+)', text)

    assert {name: int(step) * 1000 for name, step in offered} == {n: i.length_ms for n, i in INTERVALS.items()}


def test_ids_and_test_ids_are_unique(page: Page) -> None:
    """Each `id` and each `data-testid` of the page names one element."""
    for attribute in ("id", "data-testid"):
        values = [found[attribute] for _, found in page.elements if attribute in found]

        assert len(values) == len(set(values))


def test_only_one_module_requests_animation_frames() -> None:
    """Everything is painted in one frame: only signals.js uses requestAnimationFrame."""
    users = [path.name for path in MODULES if "requestAnimationFrame" in path.read_text(encoding="utf-8")]

    assert users == ["signals.js"]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_begin_with_a_description_and_stay_small(path: Path) -> None:
    """Each module begins with a comment on its content and has at most 400 lines of 120 characters."""
    lines = path.read_text(encoding="utf-8").splitlines()

    assert lines[0].startswith("// ")
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["text", "muted", "bid", "ask", "bid-text", "ask-text", "amber", "blue-text"])
def test_text_colours_have_enough_contrast(name: str) -> None:
    """Every text colour has a contrast of at least 4.5:1 on the panel (WCAG AA)."""
    text = (STATIC / "styles" / "variables.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))
    light, dark = luminance(colours[name]), luminance(colours["panel"])

    assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_digits_on_a_bar_have_enough_contrast(side: str) -> None:
    """On the densest depth bar, whose fill is in bars.js, each text of the order book has 4.5:1."""
    text = (STATIC / "styles" / "variables.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))
    bars = (STATIC / "panels" / "ladder" / "bars.js").read_text(encoding="utf-8")
    alpha = sum(float(part) for part in re.findall(r"const (?:FILL|WALL)_ALPHA = ([\d.]+)", bars))
    bar = mixed(colours[side], colours["panel"], alpha)

    assert alpha == pytest.approx(0.3)
    for name in ("text", "muted", f"{side}-text"):
        assert contrast(colours[name], bar) >= 4.5, name


def test_dimmed_data_stays_readable() -> None:
    """What may not be trusted is grey and less bright, and still has 4.5:1."""
    text = (STATIC / "styles" / "variables.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))
    strip = (STATIC / "styles" / "strip.css").read_text(encoding="utf-8")
    rules = re.findall(r"opacity: ([\d.]+);\n  filter: grayscale\(1\);", strip)

    assert rules
    for opacity in rules:
        for name in ("text", "muted", "bid-text", "ask-text"):
            grey = f"#{round(255 * weighted(colours[name])):02x}" + f"{round(255 * weighted(colours[name])):02x}" * 2
            assert contrast(mixed(grey, colours["panel"], float(opacity)), colours["panel"]) >= 4.5, name


def mixed(over: str, under: str, alpha: float) -> str:
    """Return a colour of this opacity over another one."""
    pairs = [(int(over[at : at + 2], 16), int(under[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(alpha * top + (1 - alpha) * bottom):02x}" for top, bottom in pairs)


def weighted(colour: str) -> float:
    """Return the grey that CSS's grayscale filter makes of `#rrggbb`, 0 to 1: it weighs the encoded values."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
