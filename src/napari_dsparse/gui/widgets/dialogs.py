"""Dialogs for file names; nothing is overwritten without confirmation."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_dsparse.gui.widgets.plain import plain


def ask_save_path(parent: QWidget, title: str, suggestion: str, filters: str) -> tuple[Path, bool] | None:
    """Path to save to, and True if a file of that name may be replaced; None if the user cancelled.

    Parameters
    ----------
    parent : QWidget
    title, suggestion : str
        The dialog's title, and the file name it starts with.
    filters : str
        Qt's name filters; the first suffix of the chosen one is added to a name without suffix.

    Returns
    -------
    (path, overwrite) or None
    """
    chosen, chosen_filter = QFileDialog.getSaveFileName(
        parent,
        title,
        str(Path.cwd() / suggestion.replace("/", "-")),
        filters,
        "",
        QFileDialog.Option.DontConfirmOverwrite,  # asked below, for the name with its suffix
    )
    if not chosen:
        return None
    path = _with_suffix(Path(chosen), chosen_filter or filters)
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
    start = Path.cwd() / suggestion
    while True:
        chosen, chosen_filter = QFileDialog.getSaveFileName(
            parent, title, str(start), filters, "", QFileDialog.Option.DontConfirmOverwrite
        )
        if not chosen:
            return None
        path = _with_suffix(Path(chosen), chosen_filter or filters)
        if not path.exists():
            return path
        QMessageBox.information(
            parent, title, plain(f"{path.name} exists already and is not replaced. Choose another name.")
        )
        start = path


def ask_open_path(parent: QWidget, title: str, filters: str) -> Path | None:
    """Path of the file to open; None if the user cancelled."""
    chosen, _ = QFileDialog.getOpenFileName(parent, title, str(Path.cwd()), filters)
    return Path(chosen) if chosen else None


def ask_open_paths(parent: QWidget, title: str, filters: str) -> list[Path]:
    """Paths of files to open; none if the user cancelled."""
    chosen, _ = QFileDialog.getOpenFileNames(parent, title, str(Path.cwd()), filters)
    return [Path(each) for each in chosen]


def ask_folder(parent: QWidget, title: str) -> list[Path]:
    """Path of a folder; none if the user cancelled."""
    chosen = QFileDialog.getExistingDirectory(parent, title, str(Path.cwd()))
    return [Path(chosen)] if chosen else []


def _with_suffix(path: Path, filters: str) -> Path:
    if path.suffix:
        return path
    first = filters[filters.index("*") + 1 :].split()[0].rstrip(")")
    return path.with_name(path.name + first)
