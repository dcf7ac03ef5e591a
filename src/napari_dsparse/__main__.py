"""The program ``napari-dsparse``, also as ``python -m napari_dsparse``."""

import sys


def run() -> int:
    """Run the command line; an interrupt before it is loaded is one line, too."""
    try:
        from napari_dsparse.cli import main

        return main()
    except KeyboardInterrupt:
        print("napari-dsparse: Interrupted before anything was begun.", file=sys.stderr)
        return 130  # as shells know it: 128 + SIGINT


if __name__ == "__main__":
    sys.exit(run())
