"""What a run leaves on disk: folder, record and numbers. Imports no torch: `runs.py list` answers at once."""
