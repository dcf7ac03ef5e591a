"""Programs that measure this package, each against what a user would do without it."""

import os

# As in the window: OpenMP's threads that spin while they wait take many times as long wherever another
# program wants a core. Read once, when torch is first loaded; who has set it keeps their setting.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
