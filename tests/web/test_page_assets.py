"""What is sent for each file of the page: compressed, without comments, and below an address that names its content."""

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pulse.errors import SettingsError
from pulse.web import page_assets
from pulse.web.page_assets import IMMUTABLE, REVALIDATE, Asset, read_page

STATIC = Path(__file__).parents[2] / "static"
PAGE = """<head>
    <link rel="icon" href="./favicon.svg">
    <link rel="stylesheet" href="./styles/a.css">
    <link rel="stylesheet" href="./styles/b.css">
    <link rel="modulepreload" href="./vendor/chart-1/chart.mjs" media="(min-width: 9px)">
    <script type="module" src="./app.js"></script>
</head><a href="https://example.org/">elsewhere</a>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a page, its styles, and modules that import each other."""
    files = {
        "index.html": PAGE,
        "favicon.svg": "<svg/>",
        "styles/a.css": "/* One. */\na {}\n",
        "styles/b.css": "b {}\n",
        "app.js": 'import { x } from "./lib/x.js";\nimport {\n  y,\n} from "./y.js";\nconst z = import("./late.js");\n',
        "lib/x.js": 'import { y } from "../y.js";\nexport const x = y;\n',
        "y.js": "// What it is.\n/**\n * @param {string} a\n */\nexport const y = (a) => a; // kept\n"
        "/** One line. */\n/** @type {number} */ (y);\n",
        "late.js": "export {};\n",
        "vendor/chart-1/chart.mjs": "// Its own comment.\nexport {};\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def version_of(assets: dict[str, Asset]) -> str:
    """Return the folder of the versioned addresses."""
    return next(path.split("/")[1] for path in assets if path.startswith("/v-"))


def test_only_files_of_the_page_are_sent(folder: Path) -> None:
    """What maintains the folder lies beside them; the licence of a vendored library comes with it."""
    others = ("package.json", "vendor/update.py", "vendor/manifest.json", ".hidden", "app.js.orig")
    licences = ("vendor/chart-1/LICENSE", "vendor/chart-1/NOTICE")
    before = read_page(folder)
    for name in (*others, *licences):
        (folder / name).write_text("x")
    added = {path for path in read_page(folder) if not path.startswith("/v-")} - before.keys()

    assert added == {f"/{name}" for name in licences}


def test_each_file_has_its_path_and_one_that_names_the_content(folder: Path) -> None:
    """The first is revalidated, the second kept for ever; the page itself is revalidated."""
    assets = read_page(folder)
    version = version_of(assets)

    assert re.fullmatch("v-[0-9a-f]{12}", version)
    assert (assets["/late.js"].cache_control, assets[f"/{version}/late.js"].cache_control) == (REVALIDATE, IMMUTABLE)
    assert assets["/vendor/chart-1/chart.mjs"].cache_control == IMMUTABLE
    assert assets["/"] is assets["/index.html"]
    assert assets["/"].cache_control == REVALIDATE
    assert f"/{version}/index.html" not in assets


def test_another_content_has_other_addresses(folder: Path) -> None:
    """Any change of any file, so that no browser mixes two versions."""
    before = version_of(read_page(folder))
    assert version_of(read_page(folder)) == before
    (folder / "late.js").write_text("export { };\n")

    assert version_of(read_page(folder)) != before


def test_the_page_refers_to_the_versioned_files(folder: Path) -> None:
    """It asks for its styles as one file, and for its modules as another one; what is loaded late stays alone."""
    assets = read_page(folder)
    version, html = version_of(assets), assets["/"].plain.decode()

    assert re.findall('rel="stylesheet" href="([^"]+)"', html) == [f"./{version}/styles.css"]
    chart = f'"./{version}/vendor/chart-1/chart.mjs" media="(min-width: 9px)"'
    assert re.findall('modulepreload" href=(.+)>', html) == [chart]
    assert re.findall('src="([^"]+)"', html) == [f"./{version}/page.js"]
    assert f'href="./{version}/favicon.svg"' in html
    assert 'href="https://example.org/"' in html
    assert assets[f"/{version}/styles.css"].plain.decode().split() == ["a", "{}", "b", "{}"]
    assert {f"/{version}/late.js", "/app.js", "/y.js"} <= assets.keys()
    assert f"/{version}/app.js" not in assets  # it would be run twice


def test_whole_line_comments_are_not_sent(folder: Path) -> None:
    """Their lines stay, so that line numbers are right; vendored files are sent as they are."""
    assets = read_page(folder)

    assert assets["/y.js"].plain == (b"\n\n\n\nexport const y = (a) => a; // kept\n\n/** @type {number} */ (y);\n")
    assert assets["/vendor/chart-1/chart.mjs"].plain == b"// Its own comment.\nexport {};\n"


def test_a_folder_that_is_not_the_page_s_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held in memory has a bound."""
    monkeypatch.setattr(page_assets, "PAGE_BYTES_MAX", 100)

    with pytest.raises(SettingsError, match="are kept in memory"):
        read_page(folder)


def test_large_texts_are_compressed_and_pictures_are_not(folder: Path) -> None:
    """A small file would not be sent in fewer packets."""
    (folder / "long.js").write_text("a();\n" * 1000)
    (folder / "picture.png").write_bytes(bytes(5000))
    assets = read_page(folder)

    assert gzip.decompress(assets["/long.js"].gzipped or b"") == b"a();\n" * 1000
    assert assets["/app.js"].gzipped is None
    assert (assets["/picture.png"].gzipped, assets["/picture.png"].media_type) == (None, "image/png")


def test_first_load_is_small() -> None:
    """The page with all that it names, chart library included, as a browser gets it: at most 130 KiB."""
    assets = read_page(STATIC)
    html = assets["/"].plain.decode()
    loaded = [assets["/"], *(assets[path[1:]] for path in re.findall(r'(?:src|href)="(\./v-[^"]+)"', html))]

    assert 4 < len(loaded) < 15
    assert sum(len(asset.gzipped or asset.plain) for asset in loaded) <= 130 * 1024


def test_modules_are_whole_without_their_comments(tmp_path: Path) -> None:
    """Every module that is sent can still be parsed."""
    for path, asset in read_page(STATIC).items():
        if path.endswith(".js"):
            (tmp_path / path[1:].replace("/", "__")).write_bytes(asset.plain)
    parse = """for (const name of fs.readdirSync(".")) new vm.SourceTextModule(fs.readFileSync(name, "utf8"), {
      identifier: name});"""
    node = shutil.which("node")
    assert node is not None, "Node.js is missing: install version 18 or newer (apt-get install nodejs)"
    command = [node, "--experimental-vm-modules", "-e", parse]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert len(list(tmp_path.iterdir())) > 30
    assert result.returncode == 0, result.stderr


def test_no_string_of_a_module_could_be_taken_for_a_comment() -> None:
    """A template that spans lines could hold a line that begins like one."""
    for path in STATIC.rglob("*.js"):
        if "vendor" not in path.parts:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                is_comment = line.strip().startswith(("//", "*", "/*"))
                assert is_comment or line.split(" //")[0].count("`") % 2 == 0, f"{path}:{number}"
