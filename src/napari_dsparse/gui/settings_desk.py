"""The settings, put into effect on an open dock: when it opens, and when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_dsparse.gui.settings import Settings, follow_settings, read_settings
from napari_dsparse.live import events as ev
from napari_dsparse.prediction.view_memory import default_view_bytes

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


class SettingsDesk(QObject):
    """Gives the dock's controls the values of the settings.

    What the user chooses in the dock holds for that dock; a setting that changes replaces it.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock = dock
        self._applied = Settings()  # what the controls are made with
        self._end = follow_settings(self._on_change)
        self._on_change()

    def shutdown(self) -> None:
        """Follow no more."""
        self._end()

    def _on_change(self, event: Any = None) -> None:
        before, now = self._applied, read_settings()
        self._applied = now
        panel, controller = self._dock.panel, self._dock.controller
        if now.device != before.device:
            names = [panel.device_combo.itemText(row) for row in range(panel.device_combo.count())]
            row = next((n for n, name in enumerate(names) if name.split(":")[0] == now.device), -1)
            if row < 0:
                controller.send(
                    ev.Refused(
                        f"Device {now.device!r} of the settings is not here, so auto is used; this computer "
                        f"has {', '.join(names[1:])}."
                    )
                )
            panel.device_combo.setCurrentIndex(max(0, row))
        if now.live != before.live:
            panel.live_check.setChecked(now.live)
        if now.overlay_opacity != before.overlay_opacity:
            panel.overlay_opacity.setValue(now.overlay_opacity)
        if now.hide_background != before.hide_background:
            panel.hide_background_check.setChecked(now.hide_background)
        if now.autosave_seconds != before.autosave_seconds:
            self._dock.projects.save_after(now.autosave_seconds)
        if now.view_memory_mb != before.view_memory_mb:
            controller.limit_view_memory((now.view_memory_mb << 20) or default_view_bytes())
