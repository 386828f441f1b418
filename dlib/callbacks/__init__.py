"""What happens around the optimizer steps: one file, one callback, one thought.

Ours derive from `StepCallback` and act at the boundaries between optimizer steps. Their order matters, and `Place`
states it: measure, record, evaluate, whatever is yours, decide to stop, save, show. Lightning's own work beside them.
"""
