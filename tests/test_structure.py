"""Rules for the package as a whole: permitted imports, size, and text that must not appear."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_dsparse"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Subpackages and top-level modules, lowest layer first; a module may import only from lower layers and from
#: its own subpackage.
LAYERS = (
    ("errors",),
    ("checks", "stopping"),
    ("machine",),
    ("ops",),
    ("images",),
    ("sites",),
    ("network",),
    ("classifier",),
    ("training", "prediction", "files", "samples"),
    ("batch",),
    ("model",),
    ("project",),
    ("__init__",),
    ("live",),
    ("gui",),
    ("cli",),
    ("__main__",),
)
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}

GUI_MODULES = {
    "napari",
    "qtpy",
    "superqt",
    "magicgui",
    "pyqtgraph",
    "PyQt5",
    "PyQt6",
    "PySide2",
    "PySide6",
    "vispy",
}


#: Distribution of each module, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image"}


def subpackage_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(module: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of `module`, at module level or inside functions."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively; use the full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_subpackage_has_a_layer() -> None:
    assert {subpackage_of(module) for module in MODULES} == set(LAYER_OF)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    here = subpackage_of(module)
    for line, name in imported_names(module):
        top, *rest = name.split(".")
        if top != "napari_dsparse":
            continue
        there = rest[0] if rest and rest[0] in LAYER_OF else "__init__"
        assert there == here or LAYER_OF[there] < LAYER_OF[here], (
            f"{module.relative_to(ROOT)}:{line}: {here} must not import from {there}"
        )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_gui_imports_napari_and_qt(module: Path) -> None:
    if subpackage_of(module) == "gui":
        return
    found = {name.split(".")[0] for _, name in imported_names(module)} & GUI_MODULES
    assert not found, f"{module.relative_to(ROOT)} imports {', '.join(found)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_installed_dependencies(module: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = {re.split(r"[\[<>=~ ;]", entry)[0] for entry in project["dependencies"]}
    # Only the gui may rely on napari; other extras are imported where they are used, inside a function.
    always |= {"napari", "napari_dsparse"} if subpackage_of(module) == "gui" else {"napari_dsparse"}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
            assert DISTRIBUTIONS.get(top, top) in always, f"{module.relative_to(ROOT)} imports {top}"


@pytest.mark.parametrize("statement", ["import napari_dsparse", "from napari_dsparse import densify, train"])
def test_importing_the_package_loads_neither_qt_nor_napari(statement: str) -> None:
    assert not modules_after(statement) & GUI_MODULES


def test_help_does_not_wait_for_torch() -> None:
    statement = "from napari_dsparse.cli import build_parser; build_parser().format_help()"
    assert "torch" not in modules_after(statement)


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_have_at_most_400_lines(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


#: Patterns that must not appear in the project, with the remedy.
LEFTOVERS = {
    r"\b(TODO|FIXME|XXX)\b": "finish it or open an issue",
    r"(?<![\w.$}~])/(home|Users|root|work|mnt)/\w": "a path of one machine",
    r"\b(pypi\.org|pythonhosted|download\.pytorch|deb\.debian)\b": "the host of a registry; use its client",
    r"\bexcept( Exception| BaseException)?:\s*(#.*)?$": "name the exceptions",
}


def project_texts() -> list[Path]:
    folders = [ROOT / name for name in ("src", "tests", "script", ".ci", "docs", "bench", "pretraining")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt", ".yaml"}]
    return [path for path in files if path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".json", ""}]


@pytest.mark.parametrize("pattern", LEFTOVERS)
def test_no_leftovers(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_texts()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"{LEFTOVERS[pattern]}: {found}"


#: First words of a question. A docstring opens with what a thing is or does instead.
QUESTIONS = ("What", "How", "Where", "Whether", "Which", "Who", "When")


def docstrings(module: Path) -> Iterator[tuple[int, str]]:
    """Line and docstring of `module` and of its classes and functions, private ones too."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "pretraining"])
def test_docstrings_open_with_what_a_thing_is_or_does(folder: str) -> None:
    found = [
        f"{module.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for module in sorted((ROOT / folder).rglob("*.py"))
        for line, text in docstrings(module)
        if re.match(rf"({'|'.join(QUESTIONS)})\b", text)
    ]
    assert not found, "\n".join(["Start with a noun or a verb, or with True if ...:", *found])
