"""What a task raises on behalf of the runtime that it runs on."""


class UnsupportedHere(NotImplementedError, AttributeError):
    """What a workspace can do and this stand-in cannot; hasattr() says no to it."""


class NotebookExit(BaseException):
    """Carries the value of dbutils.notebook.exit past every `except Exception` of a notebook."""
