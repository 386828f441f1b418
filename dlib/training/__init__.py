"""One run: what it is going to do, the optimizer step, the trainer, and what a checkpoint holds."""
