"""The text of the demo, and its end."""
