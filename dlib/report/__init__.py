"""Runs as one page that opens anywhere: table, curves, effects of arguments, samples. No torch."""
