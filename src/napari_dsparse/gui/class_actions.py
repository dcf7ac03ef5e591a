"""Edits of the class table from its buttons, menu and keys, passed on to the editor."""

from __future__ import annotations

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMenu

from napari_dsparse.classifier import class_edits
from napari_dsparse.gui.controller import Controller
from napari_dsparse.gui.widgets.class_dialogs import ask_removal
from napari_dsparse.gui.widgets.class_menu import fill_merge_menu
from napari_dsparse.gui.widgets.panel import Panel
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.images.painted import count_label
from napari_dsparse.live.state import LiveState


class ClassActions(QObject):
    """Removes, merges and moves classes as the user asks for it.

    Parameters
    ----------
    panel : Panel
    controller : Controller
    parent : QObject
    """

    def __init__(self, panel: Panel, controller: Controller, parent: QObject) -> None:
        super().__init__(parent)
        self._panel, self._controller = panel, controller
        self.merge_menu = QMenu(panel.merge_class_button)
        self.merge_menu.setObjectName("merge_menu")
        table = panel.class_table
        table.move_wanted.connect(self.move_class)
        table.merge_wanted.connect(self.merge_class)
        table.remove_wanted.connect(self.remove_class)
        table.undo_wanted.connect(controller.editor.undo)
        panel.remove_class_button.clicked.connect(self._remove_selected)
        panel.merge_class_button.clicked.connect(self._offer_merging)
        panel.undo_class_button.clicked.connect(controller.editor.undo)

    def enable(self, state: LiveState) -> None:
        """Let what is possible in `state` be pressed."""
        panel, title = self._panel, self._controller.editor.undo_title
        known = state.strokes is not None or state.has_model
        several = known and len(state.classes) > 2 and 1 <= state.brush <= len(state.classes)
        panel.remove_class_button.setEnabled(several)
        panel.merge_class_button.setEnabled(several)
        panel.undo_class_button.setEnabled(title is not None)
        panel.undo_class_button.setToolTip(
            plain("Take back the last edit of the classes." if title is None else f"Undo: {title}.")
        )
        panel.class_table.undo_title = None if title is None else f"Undo: {title}"

    def move_class(self, number: int, to: int) -> None:
        """Move class `number` to place `to`."""
        self._controller.editor.make(class_edits.move(self._controller.state.classes, number, to))

    def merge_class(self, number: int, into: int) -> None:
        """Merge class `number` into class `into`."""
        self._controller.editor.make(class_edits.merge(self._controller.state.classes, number, into))

    def remove_class(self, number: int) -> None:
        """Remove class `number`; if there is paint of it, ask once what becomes of it."""
        classes, editor = self._controller.state.classes, self._controller.editor
        pixels, into = editor.painted_pixels(number) + self._painted_behind(number), 0
        if pixels:
            others = {other: info for other, info in enumerate(classes, start=1) if other != number}
            answer = ask_removal(self._panel, classes[number - 1].name, pixels, others)
            if answer is None or self._controller.state.classes != classes:
                return
            into = answer
        if into:
            editor.make(class_edits.merge(classes, number, into))
        else:
            editor.make(class_edits.remove(classes, number))

    def _painted_behind(self, number: int) -> int:
        """Pixels of class `number` on the images of the list behind: the trainer may not have counted yet."""
        state = self._controller.state
        if state.chosen is None or not state.studied:
            return 0
        behind = (each.labels for each in state.study if each.key != state.chosen.key)
        return sum(count_label(labels, number) for labels in behind if labels is not None)

    def _remove_selected(self) -> None:
        self.remove_class(self._controller.state.brush)

    def _offer_merging(self) -> None:
        button, state = self._panel.merge_class_button, self._controller.state
        number = state.brush
        fill_merge_menu(self.merge_menu, state.classes, number, lambda into: self.merge_class(number, into))
        self.merge_menu.popup(button.mapToGlobal(button.rect().bottomLeft()))
