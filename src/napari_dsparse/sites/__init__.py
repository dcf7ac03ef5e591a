"""Active sites: the dependency closure of labelled pixels and its kernel maps."""

from napari_dsparse.sites.closure import Closure, Room, Window, dependency_closure, join

__all__ = ["Closure", "Room", "Window", "dependency_closure", "join"]
