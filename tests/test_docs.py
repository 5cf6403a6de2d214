"""The documentation against the code: links, file names, log messages and metric names that it states exist."""

import re
from pathlib import Path

import pytest

from tests.test_house import FLOORS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "pulse").rglob("*.py")))
OPERATE = ROOT / "docs" / "operate.md"

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:pulse|tests|static|bench|deploy|docs|sql|\.ci)/[\w./-]*)`")
NAME_IN_FILE = re.compile(r"`(\w+)`(?: \([^)]*\))? in `((?:pulse|tests)/[\w./-]+\.py)`")
FLOOR = re.compile(r"^\| \d \| ([^|]*) \|", re.MULTILINE)
METRIC = re.compile(r"`(pulse_[a-z_]+)`")
MESSAGE = re.compile(r"^\| `([a-z][^`=|]*?)(?: \w+=[^`]*)?` \|", re.MULTILINE)


def relative(path: Path) -> str:
    """Return a file's path from the top of the project."""
    return path.relative_to(ROOT).as_posix()


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether a page's relative link names a file that exists, and a heading in it where it has an anchor."""
    target, _, anchor = link.partition("#")
    file = page.parent / target if target else page
    return file.exists() and (not anchor or anchor in anchors_of(file))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that exists, and a heading in it where it has an anchor."""
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]

    assert [link for link in links if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_named_files_exist(page: Path) -> None:
    """A path in backticks is one of this repository."""
    assert [path for path in PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_named_things_are_in_their_files(page: Path) -> None:
    """Where a page says "`NAME` in `file`", the file has that name."""
    named = NAME_IN_FILE.findall(page.read_text())

    assert [name for name, path in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=relative)
def test_named_metrics_exist(page: Path) -> None:
    """Each Prometheus metric that a page names is one of the program's; the changelog also names former ones."""
    names = {name.removesuffix("_total").removesuffix("_info") for name in METRIC.findall(page.read_text())}

    assert {name for name in names if f'"{name}"' not in SOURCE} == set()


def test_log_messages_are_those_of_the_program() -> None:
    """Each message in the table of log lines is one that the program logs."""
    log_section = OPERATE.read_text().partition("## Log")[2].partition("\n## ")[0]
    messages = MESSAGE.findall(log_section)

    assert len(messages) > 10
    assert [message for message in messages if f'"{message}' not in SOURCE] == []


def test_the_floors_are_those_of_the_test() -> None:
    """The table of floors names each part where FLOORS has it, the highest floor first."""
    rows = FLOOR.findall((ROOT / "docs" / "architecture.md").read_text().partition("## Floors")[2])

    assert [set(re.findall(r"`(\w+)`", row.partition(":")[0])) for row in rows] == list(map(set, reversed(FLOORS)))
