"""A trained model that is asked line by line: what generate.py does."""
