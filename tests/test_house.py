"""What holds for the package as a whole: who may import whom, and what stays out of it."""

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

#: Rooms from the foundation up; a module may import from rooms of earlier rows and from its own room only.
STOREYS = (
    ("errors", "stopping"),
    ("machine",),
    ("ops",),
    ("images",),
    ("sites",),
    ("network",),
    ("classifier",),
    ("training", "prediction", "files", "samples"),
    ("model",),
    ("__init__",),
    ("live",),
    ("gui",),
    ("cli",),
    ("__main__",),
)
STOREY = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}

WINDOWS = {
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


#: Distributions by the module they bring, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image"}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(module: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything `module` imports, at its top or inside its functions."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively; say the full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_room_has_its_storey() -> None:
    assert {room_of(module) for module in MODULES} <= set(STOREY)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    here = room_of(module)
    for line, name in imported_names(module):
        top, *rest = name.split(".")
        if top != "napari_dsparse":
            continue
        there = rest[0] if rest and rest[0] in STOREY else "__init__"
        assert there == here or STOREY[there] < STOREY[here], (
            f"{module.relative_to(ROOT)}:{line}: {here} must not import from {there}"
        )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_gui_knows_windows(module: Path) -> None:
    if room_of(module) == "gui":
        return
    found = {name.split(".")[0] for _, name in imported_names(module)} & WINDOWS
    assert not found, f"{module.relative_to(ROOT)} imports {', '.join(found)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_imported_is_what_pip_installs(module: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = {re.split(r"[\[<>=~ ;]", entry)[0] for entry in project["dependencies"]}
    # Only the gui may take napari for granted; other extras are imported where they are used, in a function.
    always |= {"napari", "napari_dsparse"} if room_of(module) == "gui" else {"napari_dsparse"}
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
def test_import_brings_neither_qt_nor_napari(statement: str) -> None:
    brought = modules_after(statement) & WINDOWS
    assert not brought


def test_help_does_not_wait_for_torch() -> None:
    statement = "from napari_dsparse.cli import build_parser; build_parser().format_help()"
    assert "torch" not in modules_after(statement)


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable_in_one_sitting(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


#: What must not slip into the project, and what to do instead.
LEFTOVERS = {
    r"\b(TODO|FIXME|XXX)\b": "finish it or file it",
    r"(?<![\w.$}~])/(home|Users|root|work|mnt)/\w": "a path of one machine",
    r"\b(pypi\.org|pythonhosted|download\.pytorch|deb\.debian)\b": "a registry's host; its client knows it",
    r"\bexcept( Exception| BaseException)?:\s*(#.*)?$": "name what may fail",
}


def project_texts() -> list[Path]:
    folders = [ROOT / name for name in ("src", "tests", "script", ".ci", "docs", "bench", "pretraining")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt", ".yaml"}]
    return [path for path in files if path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".json", ""}]


@pytest.mark.parametrize("pattern", LEFTOVERS)
def test_nothing_is_left_over(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_texts()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"{LEFTOVERS[pattern]}: {found}"
