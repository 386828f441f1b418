"""What happens around the optimizer steps: one file, one callback, one thought.

All derive from `StepCallback` and act at the boundaries between optimizer steps. Their order matters, and
`train.py` states it: measure, record, evaluate, decide to stop, save, show.
"""
