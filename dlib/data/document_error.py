"""What is wrong with a document, for whoever reads one."""


class DocumentError(Exception):
    """What is wrong with a document, at a byte offset of its file. Becomes a `UserError` once the line is known."""

    def __init__(self, offset: int, reason: str) -> None:
        """Remember where and what: `offset` counts bytes from the file's start."""
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason
