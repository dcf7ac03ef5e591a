"""Programs that measure this package, each against what a user would do without it."""

import os

# As in the dock: OpenMP's threads that spin while they wait take many times as long wherever another
# program needs a core. Read once, when torch is first loaded; a value that the user has set is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
