"""Folder of this user's data: what is kept beside a project, and is not thrown away as a cache is."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

#: Environment variable that names another folder.
VARIABLE = "DSPARSE_USER_DATA"


def user_folder() -> Path:
    """The folder, which may not exist yet."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("napari-dsparse", appauthor=False)
