"""The page's modules joined into one: run in the order of their imports, each once, by Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pulse.errors import SettingsError
from pulse.web.page_modules import JOINED, joined

MODULES = {
    "app.js": 'import { count, twice as double } from "./lib/count.js";\nimport { word } from "./vendor/w.mjs";\n'
    'export const ROWS = [() => import("./panels/a/panel.js"), () => import("./panels/late/panel.js")];\n'
    "globalThis.app = async () => [count(), double(4), word,\n"
    "  ...await Promise.all(ROWS.map(async (load) => (await load()).name()))];\n",
    "lib/count.js": "export let unused; const hidden = 1;\nlet counted = 0;\nexport function count() {\n"
    "  counted += hidden;\n  return counted;\n}\nexport const twice = (n) => 2 * n;\n",
    "panels/a/panel.js": 'import {\n  count,\n} from "../../lib/count.js";\nconst hidden = "a";\n'
    "export async function name() {\n  return `${hidden}${count()}`;\n}\n",
    "panels/late/panel.js": 'import { count } from "../../lib/count.js";\nimport { twice } from "../../lib/count.js";\n'
    'import { own } from "./own.js";\n'
    "export const name = () => `${own}${count()}${twice(3)}`;\n",
    "panels/late/own.js": 'export const own = "late";\n',
    "types.js": "export {};\n",
}


def sent(folder: Path, entries: tuple[str, ...], modules: dict[str, str]) -> dict[str, str]:
    """Write the joined modules to a folder, and return them."""
    files = joined(entries, modules)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "vendor").mkdir()
    (folder / "vendor" / "w.mjs").write_text('const w = "vendored"; export { w as word };')
    return files


def test_joined_modules_run_as_the_single_ones_would(tmp_path: Path) -> None:
    """Names that are not exported do not meet, and a module that is loaded later has the same state."""
    modules = MODULES | {"lib/count.js": MODULES["lib/count.js"].replace("export let unused; ", "")}
    files = sent(tmp_path, ("panels/a/panel.js", "app.js"), modules)
    node = shutil.which("node")
    assert node is not None, "Node.js is missing: install version 18 or newer (apt-get install nodejs)"
    script = 'import("./page.js").then(async () => console.log(JSON.stringify(await globalThis.app())))'
    result = subprocess.run([node, "-e", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert files.keys() == {JOINED, "panels/late/panel.js", "panels/late/own.js", "types.js"}
    assert result.stdout == '[1,8,"vendored","a2","late36"]\n', result.stderr


def test_a_module_s_own_address_stays_its_own() -> None:
    """What it loads beside itself is found from the joined one, too."""
    module = {"panels/a/panel.js": 'export const url = new URL("./panel.css", import.meta.url);\n'}

    assert (
        'new URL("./panel.css", new URL("./panels/a/panel.js", import.meta.url).href)' in joined(module, module)[JOINED]
    )


@pytest.mark.parametrize(
    "line",
    ['import * as all from "./b.js";', 'import b from "./b.js";', 'export * from "./b.js";', "export let a = 1;",
     "export default 1;", 'import "./b.js";'],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused(line: str) -> None:
    """Forms that would be joined wrongly."""
    with pytest.raises(SettingsError, match=r"a\.js has .*, which is no import or export by name"):
        joined(["a.js"], {"a.js": f"{line}\n", "b.js": "export const b = 1;\n"})


def test_a_circle_is_named() -> None:
    """Two modules that import each other have no order."""
    circle = {"a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
              "b.js": 'import { a } from "./a.js";\nexport const b = 1;\n'}  # fmt: skip

    with pytest.raises(SettingsError, match=r"a\.js -> b\.js -> a\.js"):
        joined(["a.js"], circle)
