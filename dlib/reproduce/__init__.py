"""A run once more, and in what it differs. No torch."""
