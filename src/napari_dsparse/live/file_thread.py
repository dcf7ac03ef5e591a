"""The thread that reads and writes files, so that neither waits for a prediction nor is lost with one."""

from __future__ import annotations

from collections.abc import Callable

from napari_dsparse.files.export import export_labels
from napari_dsparse.files.model import read_classifier, save_classifier
from napari_dsparse.live.messages import (
    ExportJob,
    FileJob,
    FileWritten,
    LoadModelJob,
    ModelLoaded,
    SaveModelJob,
    WorkerEvent,
)
from napari_dsparse.live.worker import Worker


class FileThread(Worker[FileJob]):
    """Writes and reads files one after the other; every queued job is done before it ends.

    Parameters
    ----------
    post : callable
        Takes this thread's events.
    """

    finishes_jobs = True

    def __init__(self, post: Callable[[WorkerEvent], None]) -> None:
        super().__init__("files", post)

    def _supersedes(self, job: FileJob, waiting: FileJob) -> bool:
        return False

    def _work(self, job: FileJob) -> None:
        match job:
            case ExportJob():
                path = export_labels(
                    job.path,
                    job.labels,
                    classes=job.classes,
                    image_name=job.image_name,
                    scale=job.scale,
                    units=job.units,
                    axes=job.axes,
                    overwrite=job.overwrite,
                )
                self._post(FileWritten(job.envelope, path, "Segmentation"))
            case SaveModelJob():
                path = save_classifier(job.classifier, job.path, overwrite=job.overwrite)
                self._post(FileWritten(job.envelope, path, "Model"))
            case LoadModelJob():
                self._post(ModelLoaded(job.envelope, job.path, read_classifier(job.path)))
