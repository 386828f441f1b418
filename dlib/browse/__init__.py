"""The runs of a workspace, looked at and tidied up: list, show, compare, plot, drop. No torch."""
