"""The loop between strokes and overlay, without a window: state, schedule, worker threads.

`schedule.advance` decides everything: it is a pure function from a state and an event to the next state and
the actions to take. `LiveLoop` runs it over the worker threads; its client, a window, a benchmark or a test,
passes in events, draws the state and applies the actions that concern its layers.
"""

import os

# In a window, cores are shared with drawing and with the user's other programs. OpenMP's threads by default
# spin while they wait for each other, and a training step then takes many times as long as it should. Read
# once, when torch is first loaded; a value that the user has set is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
