"""Dialogs for file names; nothing is overwritten without confirmation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_dsparse.files.project_folder import SUFFIX
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.images.reading import IMAGE_SUFFIXES

#: Files only: a Zarr store is a folder.
IMAGE_FILTER = f"Images ({' '.join(f'*{suffix}' for suffix in IMAGE_SUFFIXES if suffix != '.zarr')})"


@dataclass(slots=True)
class _Folders:
    """The folders that a file, and a folder or a project, were last chosen from in this process.

    For what belongs to a folder, such as an image's, it is the one last chosen for this folder.
    """

    last: Path | None = None
    of_folders: Path | None = None
    instead: dict[Path, Path] = field(default_factory=dict)

    def start(self, folder: Path | None = None) -> Path:
        """The folder that a dialog opens: of `folder`, else the last one if it is there, or the present."""
        return _first_there(*self._of(folder), self.last)

    def start_for_folder(self, folder: Path | None = None) -> Path:
        """The same for a folder: that of `folder`, or where the last folder or project was, or a file."""
        return _first_there(*self._of(folder), self.of_folders, self.last)

    def start_for_project(self, folder: Path | None = None) -> Path:
        """The same for a new project: they are kept together, the first one in `folder`."""
        return _first_there(self.of_folders, self.last, folder)

    def note_file(self, path: Path, folder: Path | None) -> None:
        """Remember the folder of a file that was chosen where `folder` was the one to start in."""
        self.last = path.parent
        if folder is not None:
            self.instead[folder] = path.parent

    def _of(self, folder: Path | None) -> tuple[Path | None, ...]:
        return () if folder is None else (self.instead.get(folder), folder)


def _first_there(*folders: Path | None) -> Path:
    return next((folder for folder in folders if folder is not None and folder.is_dir()), Path.cwd())


_FOLDERS = _Folders()


def ask_save_path(
    parent: QWidget, title: str, suggestion: str, filters: str, folder: Path | None = None
) -> tuple[Path, bool] | None:
    """Path to save to, and True if a file of that name may be replaced; None if the user cancelled.

    Parameters
    ----------
    parent : QWidget
    title, suggestion : str
        The dialog's title, and the file name it starts with.
    filters : str
        Qt's name filters; the first suffix of the chosen one is added to a name without suffix, and takes the
        place of the suggestion's, which belongs to another one.
    folder : Path, optional
        The folder to start in, until another one has been chosen from there.

    Returns
    -------
    (path, overwrite) or None
    """
    chosen, chosen_filter = QFileDialog.getSaveFileName(
        parent,
        title,
        str(_FOLDERS.start(folder) / suggestion.replace("/", "-")),
        filters,
        "",
        QFileDialog.Option.DontConfirmOverwrite,  # asked below, for the name with its suffix
    )
    if not chosen:
        return None
    path = _with_suffix(Path(chosen), chosen_filter or filters, suggestion)
    _FOLDERS.note_file(path, folder)
    if not path.exists():
        return path, False
    answer = QMessageBox.question(
        parent,
        title,
        plain(f"{path.name} exists already. Replace it?"),
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    return (path, True) if answer == QMessageBox.StandardButton.Yes else None


def ask_new_path(parent: QWidget, title: str, suggestion: str, filters: str) -> Path | None:
    """Name for a file that does not exist yet; asks again while one does, None if the user gives up.

    Parameters are those of `ask_save_path`.
    """
    start = _FOLDERS.start() / suggestion
    while True:
        chosen, chosen_filter = QFileDialog.getSaveFileName(
            parent, title, str(start), filters, "", QFileDialog.Option.DontConfirmOverwrite
        )
        if not chosen:
            return None
        path = _with_suffix(Path(chosen), chosen_filter or filters, suggestion)
        _FOLDERS.last = path.parent
        if not path.exists():
            return path
        QMessageBox.information(
            parent, title, plain(f"{path.name} exists already and is not replaced. Choose another name.")
        )
        start = path


def ask_open_path(parent: QWidget, title: str, filters: str, folder: Path | None = None) -> Path | None:
    """Path of the file to open; None if the user cancelled."""
    chosen, _ = QFileDialog.getOpenFileName(parent, title, str(_FOLDERS.start(folder)), filters)
    if not chosen:
        return None
    _FOLDERS.note_file(Path(chosen), folder)
    return Path(chosen)


def ask_open_paths(parent: QWidget, title: str, filters: str) -> list[Path]:
    """Paths of files to open; none if the user cancelled."""
    chosen, _ = QFileDialog.getOpenFileNames(parent, title, str(_FOLDERS.start(None)), filters)
    paths = [Path(each) for each in chosen]
    if paths:
        _FOLDERS.last = paths[0].parent
    return paths


def ask_project_path(parent: QWidget, suffix: str, folder: Path | None = None) -> Path | None:
    """Path of a new project; asks again while something of that name exists, None if the user cancelled.

    `folder` is where to start while no file has been chosen.
    """
    title, start = "Save as a project", _FOLDERS.start_for_project(folder) / f"study{suffix}"
    while True:
        chosen, _ = QFileDialog.getSaveFileName(
            parent, title, str(start), f"Project (*{suffix})", "", QFileDialog.Option.DontConfirmOverwrite
        )
        if not chosen:
            return None
        path = Path(chosen) if chosen.endswith(suffix) else Path(chosen + suffix)
        if not path.exists():
            _FOLDERS.of_folders = path.parent
            return path
        QMessageBox.information(
            parent, title, plain(f"{path.name} exists already and is not replaced. Choose another name.")
        )
        start = path


def confirm(parent: QWidget, title: str, question: str) -> bool:
    """True if the user says yes."""
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(parent, title, plain(question), buttons.Yes | buttons.No, buttons.No)
    return answer == buttons.Yes


def ask_folder(parent: QWidget, title: str, folder: Path | None = None) -> list[Path]:
    """Path of a folder; none if the user cancelled. `folder` is where to start."""
    chosen = QFileDialog.getExistingDirectory(parent, title, str(_FOLDERS.start_for_folder(folder)))
    if not chosen:
        return []
    path = Path(chosen)
    one_thing = path.suffix in (SUFFIX, ".zarr")  # a project or a store, in a folder
    place = path.parent if one_thing else path
    if folder is None:
        _FOLDERS.of_folders = place
    else:
        _FOLDERS.instead[folder] = place
    return [path]


def _with_suffix(path: Path, filters: str, suggestion: str) -> Path:
    """The path with the first suffix of the chosen filter, unless another one was typed."""
    first, *others = re.findall(r"\*(\.[\w.]+)", filters)
    name = path.name
    if name.lower().endswith((first, *others)):
        return path
    suggested = "".join(Path(suggestion).suffixes[-2:])
    if suggested and name.endswith(suggested):
        name = name.removesuffix(suggested)
    elif path.suffix:
        return path
    return path.with_name(name + first)
