"""Errors, each one a sentence to the person who can act on it.

Every message states what was given, what is allowed and what to do. All of them are
`DsparseError`, so that a window or a command line has one class to catch and show.
"""

import errno


class DsparseError(ValueError):
    """Base of every error this package raises on purpose."""


class ShapeError(DsparseError):
    """A tensor or map is too small, too large or of the wrong rank for an operation."""


class ConversionError(DsparseError):
    """A patch classifier holds a layer that has no exact whole-image form."""


class KernelError(DsparseError):
    """A compiled kernel was required, or tried, and is not available here."""


class ImageError(DsparseError):
    """An image cannot be read as pixels with channels."""


class LabelsError(DsparseError):
    """Labels or numbered objects cannot be learned from, or measured."""


class ModelFileError(DsparseError):
    """A file is not a model this version can load."""


class ProjectError(DsparseError):
    """A folder is not a project this version can open, or another program has it open."""


class ExportError(DsparseError):
    """A result cannot be written where or how it was asked for."""


def reason_of(error: OSError) -> str:
    """The system's reason for a failure, in a few words without a stop."""
    if error.errno == errno.EFBIG:
        return "beyond the limit on the size of files, of ulimit -f or of the disk"
    return error.strerror or str(error)


def sentence_of(error: BaseException) -> str:
    """The reason for a failure, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {reason_of(error)}." if error.filename else f"{reason_of(error)}."
    if isinstance(error, MemoryError):
        return f"Not enough memory ({error}); close other programs or give a smaller image."
    return " ".join(str(error).split())
