"""Forms whose button runs a plain function in another thread, with progress and a way to stop it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeAlias

from magicgui import magic_factory
from magicgui.widgets import ComboBox, FunctionGui
from napari import current_viewer
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, Slot
from qtpy.QtWidgets import QLabel, QLayout, QProgressBar

from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.relay import EventRelay
from napari_dsparse.gui.widgets.status_label import StatusLabel, StatusPlace

#: Keywords that a function may take and no form shows.
_CONTROLS = ("progress", "stop")
_STOP = "Stop"

Form: TypeAlias = "FunctionGui[..., Any]"

#: Shows a result in the viewer, in the window's thread: takes the form, the arguments and the result, and
#: returns the sentence that stands below the button.
Finish: TypeAlias = Callable[[Form, Mapping[str, Any], Any], str]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error that the user can put right: one sentence, no traceback."""

    sentence: str


def background_form(
    function: Callable[..., Any],
    *,
    button: str,
    doing: str,
    finish: Finish,
    prepare: Callable[[Form], None] | None = None,
    **parameters: Any,
) -> Any:
    """Make a form of a plain function that runs it in a thread of its own.

    Parameters
    ----------
    function : callable
        Its parameters are the form's; `progress` and `stop`, if it takes them, are the form's own business.
        It raises `DsparseError` for what the user can put right, which is shown as the sentence it is.
    button : str
        The button's text. While the function runs the button reads "Stop".
    doing : str
        What is going on while it runs, for the status line and napari's activity dock.
    finish : callable
        Shows the result; see `Finish`.
    prepare : callable, optional
        Takes a new form, to link its fields.
    **parameters : dict
        magicgui's options of each parameter.

    Returns
    -------
    MagicFactory
    """

    def complete(form: Form) -> None:
        FormWork(form, function, doing, finish).attach()
        if prepare is not None:
            prepare(form)

    return magic_factory(_deferred(function), call_button=button, widget_init=complete, **parameters)


def _deferred(function: Callable[..., Any]) -> Callable[..., Mapping[str, Any]]:
    """A function with the form's parameters that only collects their values."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    shown = [entry for entry in parameters if entry.name not in _CONTROLS]
    signature = inspect.Signature(shown)

    @wraps(function)
    def collect(*args: Any, **kwargs: Any) -> Mapping[str, Any]:
        return signature.bind(*args, **kwargs).arguments

    collect.__signature__ = signature  # type: ignore[attr-defined]
    # Without the return type: napari would replace the data of layers that bear a result's name.
    collect.__annotations__ = {entry.name: entry.annotation for entry in shown}
    return collect


class FormWork(QObject):
    """The life of a form's work: begun by its button, stopped by the same, its outcome told below.

    Parameters
    ----------
    form : Form
        The form; it keeps this object alive, and ends its work when it goes.
    function, doing, finish
        As in `background_form`.
    """

    def __init__(self, form: Form, function: Callable[..., Any], doing: str, finish: Finish) -> None:
        super().__init__(form.native)
        self._form, self._function, self._doing, self._finish = form, function, doing, finish
        fields = inspect.signature(function).parameters.values()
        self._required: list[ComboBox] = [
            form[entry.name]
            for entry in fields
            if entry.default is entry.empty and isinstance(getattr(form, entry.name, None), ComboBox)
        ]
        self._waits = True
        self._takes = inspect.signature(function).parameters.keys() & set(_CONTROLS)
        self._button_text = form.call_button.text
        self._worker: Any = None
        self._arguments: Mapping[str, Any] = {}
        self._stop = threading.Event()
        self._relay = EventRelay()  # its signal is queued by Qt: progress is told in the worker's thread
        self._relay.posted.connect(self._on_progress)
        self.bar = QProgressBar()
        self.bar.setObjectName("progress_bar")
        self.status = StatusLabel()
        self.status.setObjectName("status_label")

    def attach(self) -> None:
        """Put bar and status below the form's fields and listen to its button."""
        form = self._form
        for field in form:
            field.native.setObjectName(field.name)
        layout = form.native.layout()
        layout.addWidget(self.bar)
        layout.addWidget(StatusPlace(self.status))
        self.bar.hide()
        form.called.connect(self._on_called)
        form.native.destroyed.connect(self._stop.set)
        form.native.installEventFilter(self)
        for field in self._required:
            field.changed.connect(self._on_layers)
            field.native.model().rowsRemoved.connect(self._on_layers)  # magicgui is silent on the last one
        self._on_layers()

    def _on_layers(self, *given: Any) -> None:
        """The button needs a layer in every field that cannot stay empty."""
        missing = next((field for field in self._required if field.value is None), None)
        self._form.call_button.enabled = missing is None
        if missing is not None:
            self.status.say(f"Open or make a layer for {missing.label!r} first.")
            self._waits = True
        elif self._waits:
            self._waits = False
            self.status.say("")
            self._prefer_active()

    def _prefer_active(self) -> None:
        """Begin with the selected layer where it fits, else with the topmost."""
        viewer = current_viewer()
        active = None if viewer is None else viewer.layers.selection.active
        for field in self._required:
            field.value = active if active in field.choices else field.choices[-1]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Line the fields up once the theme's font is known: magicgui does so before."""
        if event.type() in (QEvent.Type.Show, QEvent.Type.StyleChange, QEvent.Type.FontChange):
            align_labels(self._form.native.layout())
        return bool(super().eventFilter(watched, event))

    # -- work -----------------------------------------------------------------------------------------------

    def _on_called(self, arguments: Mapping[str, Any]) -> None:
        if self._worker is not None:
            self._stop.set()
            self._worker.quit()
            self.status.say("Stopping ...")
            return
        self._arguments = dict(arguments)
        self._stop.clear()
        self._worker = create_worker(self._work, _start_thread=False, _progress={"desc": self._doing})
        self._worker.returned.connect(self._on_returned)
        self._worker.errored.connect(self._on_errored)
        self._worker.finished.connect(self._on_finished)
        self._form.call_button.text = _STOP
        self.bar.setRange(0, 0)
        self.bar.show()
        self.status.say(f"{self._doing} ...")
        self._worker.start()

    def _work(self) -> Any:
        """Runs in the worker's thread."""
        controls = {"progress": self._relay.posted.emit, "stop": self._stopped}
        taken = {name: control for name, control in controls.items() if name in self._takes}
        try:
            return self._function(**self._arguments, **taken)
        except DsparseError as error:
            return _Refusal(str(error))

    def _stopped(self) -> bool:
        worker = self._worker
        return self._stop.is_set() or (worker is not None and worker.abort_requested)

    @Slot(object)
    def _on_progress(self, share: float) -> None:
        if self._worker is None or self._stop.is_set():
            return
        percent = int(100 * share)
        self.bar.setRange(0, 100)
        self.bar.setValue(percent)
        activity = self._worker.pbar
        activity.total = 100
        activity.update(percent - activity.n)

    @Slot(object)
    def _on_returned(self, result: Any) -> None:
        if isinstance(result, _Refusal):
            self._say_failed(result.sentence)
            show_error(result.sentence)
        else:
            self.status.say(self._finish(self._form, self._arguments, result))

    @Slot(object)
    def _on_errored(self, error: Exception) -> None:
        self._say_failed(f"{type(error).__name__}: {error}")  # napari shows it with its traceback

    @Slot()
    def _on_finished(self) -> None:
        stopped = self._worker is not None and self._worker.abort_requested
        self._worker = None
        self._arguments = {}
        self.bar.hide()
        self._form.call_button.text = self._button_text
        if stopped:
            self.status.say("Stopped; nothing was added or saved.")

    def _say_failed(self, sentence: str) -> None:
        viewer = current_viewer()
        if viewer is not None:
            self.status.set_foreground(get_theme(viewer.theme).text.as_hex())
        self.status.say(sentence, failed=True)


def align_labels(rows: QLayout) -> None:
    """Give the labels in front of a form's fields one width."""
    found = (rows.itemAt(index).widget() for index in range(rows.count()))
    labels = [
        label
        for row in found
        if row is not None and row.layout() is not None
        for label in [row.layout().itemAt(0).widget()]
        if isinstance(label, QLabel)
    ]
    width = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setFixedWidth(width)
