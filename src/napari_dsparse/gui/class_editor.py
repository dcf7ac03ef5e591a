"""Edits of the class table by the user: on paint, table, results and brush at once, undone in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit, done
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import LabelsError
from napari_dsparse.gui.layers.paint_history import can_redo, can_undo, is_newest, paint_of, paint_step
from napari_dsparse.gui.layers.strokes_binding import StrokesBinding
from napari_dsparse.images.painted import count_label
from napari_dsparse.live import events as ev
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari.layers import Labels

#: Edits that can be taken back, as many as napari's own steps.
MOST_EDITS = 100

OthersRenumbering: TypeAlias = Callable[[ClassEdit, DoneEdit, bool], tuple[LabelledImage, ...] | None]


@dataclass(eq=False, slots=True)
class _Entry:
    """An edit that was made.

    `mark` is that of its step in napari's history, None if it took none; `undone` is true while that step is
    undone. `cancels` is the entry that this one took back by a step of its own, `cancelled` is true of that.
    `brush` holds the class that was painted before it, and the one after it.
    """

    step: DoneEdit
    mark: object = None
    undone: bool = False
    cancels: _Entry | None = None
    cancelled: bool = False
    brush: tuple[int, int] = (0, 0)


class ClassEditor:
    """Makes edits, and takes them back: those of one strokes layer belong together.

    An edit that renumbers is a step in the layer's undo history, so that Ctrl+Z on the canvas takes it back
    in its turn, and the table follows. `undo` takes back the last edit whatever was painted since.

    Parameters
    ----------
    strokes : StrokesBinding
    state : callable
        Returns the present state.
    send : callable
        Takes events for the schedule.
    """

    def __init__(
        self,
        strokes: StrokesBinding,
        state: Callable[[], LiveState],
        send: Callable[[Any], None],
    ) -> None:
        self._strokes, self._state, self._send = strokes, state, send
        self._layer: Labels | None = None
        self._of_layers: WeakKeyDictionary[Labels, list[_Entry]] = WeakKeyDictionary()
        self._of_none: list[_Entry] = []
        self._writing = False
        #: Lets the strokes on images behind follow: takes the edit, the step, and whether it is made or taken
        #: back; returns the list of images after it, None if it stays as it is.
        self.renumber_others: OthersRenumbering | None = None

    def forget(self, layer: Labels) -> list[object]:
        """Undo none of the edits that were made on `layer` any more; returns the marks of their steps.

        Its paint follows an edit on another image, which is newer, and would have to be taken back first.
        """
        return [each.mark for each in self._of_layers.pop(layer, []) if each.mark is not None]

    @property
    def undo_title(self) -> str | None:
        """Title of the edit that `undo` takes back; None if there is none."""
        entry = self._last()
        return None if entry is None else entry.step.edit.title

    def painted_pixels(self, number: int) -> int:
        """Pixels painted as class `number`."""
        return 0 if self._layer is None else count_label(paint_of(self._layer), number)

    # -- edits ----------------------------------------------------------------------------------------------

    def change(self, classes: Sequence[ClassInfo]) -> None:
        """Give classes the names and colours in `classes`; a name that another class has is refused."""
        for number, (before, info) in enumerate(zip(self._state().classes, classes, strict=True), start=1):
            if info == before:
                continue
            try:
                self.make(class_edits.change(self._state().classes, number, info))
            except LabelsError as error:
                self._send(ev.Refused(str(error)))

    def make(self, edit: ClassEdit) -> None:
        """Make an edit of the present table."""
        classes = self._state().classes
        if not edit.renumbers:
            self._keep(_Entry(done(classes, edit, None)))
            self._send(ev.ClassesEdited(edit.classes))
            return
        labels = self._labels()
        entry = _Entry(done(classes, edit, labels))
        self._take_step(entry, edit, None if labels is None else edit.applied_to(labels))

    def undo(self) -> None:
        """Take back the last edit; what was painted since stays."""
        entry, classes = self._last(), self._state().classes
        if entry is None:
            return
        layer, step = self._layer, entry.step
        if not step.edit.renumbers:
            self._entries.remove(entry)
            self._send(ev.ClassesEdited(step.inverse(classes).classes))
            self._drop_added(step)
        elif layer is None:
            self._entries.remove(entry)
            self._renumber(step.inverse(classes), entry, made=False)
        elif is_newest(layer, entry.mark):
            layer.undo()
            self._catch_up()  # a hidden layer does not tell
        else:
            labels = paint_of(layer)
            back = _Entry(done(classes, step.inverse(classes), labels), cancels=entry)
            entry.cancelled = True
            self._take_step(back, step.inverse(classes), step.restore(labels, classes))

    def follow(self, layer: Labels | None) -> None:
        """Belong to `layer` from now on; what was undone or redone on it meanwhile is caught up with."""
        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.events.set_data.disconnect(self._catch_up)
        self._of_none.clear()
        self._layer = layer
        if layer is not None:
            layer.events.set_data.connect(self._catch_up)
            self._catch_up()

    # -- steps ----------------------------------------------------------------------------------------------

    @property
    def _entries(self) -> list[_Entry]:
        return self._of_none if self._layer is None else self._of_layers.setdefault(self._layer, [])

    def _last(self) -> _Entry | None:
        return next(
            (
                entry
                for entry in reversed(self._entries)
                if not (entry.undone or entry.cancelled or entry.cancels)
            ),
            None,
        )

    def _labels(self) -> Any:
        return None if self._layer is None else paint_of(self._layer)

    def _keep(self, entry: _Entry) -> None:
        entries = self._entries
        entries[:] = [*(one for one in entries if not one.undone), entry][-MOST_EDITS:]

    def _take_step(self, entry: _Entry, edit: ClassEdit, after: Any) -> None:
        if self._layer is not None and after is not None:
            self._writing = True
            try:
                entry.mark = paint_step(self._layer, after)
            finally:
                self._writing = False
        self._keep(entry)
        self._renumber(edit, entry.cancels or entry, made=entry.cancels is None)

    def _renumber(self, edit: ClassEdit, entry: _Entry, *, made: bool) -> None:
        """Let everything but the paint follow; the tool in hand stays. `entry` is made, or taken back.

        The brush follows its class. If that is the class which took the place of one removed, it goes back to
        the one that was removed, unless another was picked meanwhile.
        """
        layer, step = self._layer, entry.step
        now = 0 if layer is None else int(layer.selected_label)
        brush = edit.brush(now)
        if made:
            entry.brush = now, brush
        elif now == entry.brush[1]:
            brush = entry.brush[0]
        study = None if self.renumber_others is None else self.renumber_others(edit, step, made)
        self._send(ev.ClassesRenumbered(edit, self._strokes.copy(), study))
        if layer is not None:
            layer.selected_label = brush
        if not made:
            self._drop_added(step)

    def _drop_added(self, step: DoneEdit) -> None:
        """Take classes that came for an edit out of the table, where they are the last and not painted."""
        state = self._state()
        classes, least = state.classes, len(step.before) - step.edit.added
        if len(classes) > len(step.before):  # more were added since, which keep their numbers
            return
        counted = [pixels for _, pixels in state.counts]
        while len(classes) > least:
            number = len(classes)
            if self.painted_pixels(number) or (number <= len(counted) and counted[number - 1]):
                break
            classes = classes[:-1]
        if classes != state.classes:
            if self._layer is not None:
                self._layer.selected_label = min(int(self._layer.selected_label), len(classes))
            self._send(ev.ClassesEdited(classes))

    def _catch_up(self, event: Any = None) -> None:
        """Follow what napari has undone or redone since the last look."""
        layer, entries = self._layer, self._entries
        if self._writing or layer is None or not entries:
            return
        for entry in reversed(entries[:]):
            if not entry.undone and can_redo(layer, entry.mark):
                entry.undone = True
                newer = entries[entries.index(entry) + 1 :]
                # Numbers in later changes of names and colours are those of after the edit.
                entries[:] = [one for one in entries if one not in newer or one.step.edit.renumbers]
                self._show(entry)
        for entry in entries[:]:
            if entry.undone and can_undo(layer, entry.mark):
                entry.undone = False
                self._show(entry)
        entries[:] = [one for one in entries if not one.undone or can_redo(layer, one.mark)]

    def _show(self, entry: _Entry) -> None:
        """Let the table follow an entry that napari has just undone or redone."""
        in_force = not entry.undone
        if entry.cancels is not None:
            entry, in_force = entry.cancels, entry.undone
            entry.cancelled = not in_force
        classes = self._state().classes
        edit = entry.step.again(classes) if in_force else entry.step.inverse(classes)
        self._renumber(edit, entry, made=in_force)
