"""What every program needs of its process: errors, messages, ranks, threads, whole files, seeds. Imports no torch."""
