"""Active sites: the dependency closure of labelled pixels and its kernel maps."""

from napari_dsparse.sites.closure import (
    Closure,
    MapBuffers,
    Reader,
    TapWindow,
    active_sites,
    dependency_closure,
    join,
    link_sites,
)

__all__ = [
    "Closure",
    "MapBuffers",
    "Reader",
    "TapWindow",
    "active_sites",
    "dependency_closure",
    "join",
    "link_sites",
]
