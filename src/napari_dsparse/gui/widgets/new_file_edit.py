"""A magicgui field for the name of a file that is to be written."""

from __future__ import annotations

from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit

from napari_dsparse.gui.widgets.dialogs import ask_new_path


class NewFileEdit(FileEdit):
    """A file name with a button that asks for one; existing files are not offered for replacement.

    Parameters
    ----------
    filter : str
        Qt's name filters; the first suffix of the chosen one is added to a name without suffix.
    suggestion : str
        File name that the dialog starts with.
    title : str
        The dialog's title.
    **options
        As for magicgui's `FileEdit`.
    """

    def __init__(self, filter: str, suggestion: str, title: str, **options: Any) -> None:
        super().__init__(mode=FileDialogMode.OPTIONAL_FILE, filter=filter, **options)
        self._suggestion, self._title = suggestion, title
        self.choose_btn.text = "Choose..."
        self.choose_btn.changed.disconnect()
        self.choose_btn.changed.connect(self._ask)

    def _ask(self) -> None:
        current = str(self.line_edit.value).strip()
        path = ask_new_path(
            self.choose_btn.native, self._title, current or self._suggestion, self.filter or ""
        )
        if path is not None:
            self.value = path
