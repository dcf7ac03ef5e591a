"""The loop between strokes and overlay, without a window: state, schedule, worker threads.

`schedule.advance` decides everything: it is a pure function from a state and an event to the next state and
what is to be done. `LiveLoop` runs it over the worker threads; a window, a benchmark or a test stands on the
other side and hands in events, draws the state and carries out what concerns its layers.
"""

import os

# In a window, cores are shared with drawing and with the user's other programs. OpenMP's threads by default
# spin while they wait for each other, and a training step then takes many times as long as it should. Read
# once, when torch is first loaded; who has set it keeps their setting.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
