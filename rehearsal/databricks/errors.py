"""What ends a command: the text that the client prints, and its exit code."""


class ClientError(Exception):
    """Ends a command with a message on standard error, which may be empty."""

    exit_code = 1

    @property
    def printed(self) -> str:
        """The text on standard error."""
        return f"Error: {self}\n" if str(self) else ""


class Killed(ClientError):
    """Somebody stopped the build while the client worked."""

    exit_code = 137


class Invalid(ClientError):
    """A finding about the bundle or its plan; the client prints an empty line after it."""

    @property
    def printed(self) -> str:
        """The text on standard error."""
        return f"Error: {self}\n\n"


class Refused(ClientError):
    """A failed sign-in, with the workspace's HTTP status; 0 if the workspace was not asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ClientError, ConnectionError):
    """There is no such workspace, or no network to it."""


class NotSupported(ClientError):
    """Something that the real client can do and the stand-in cannot, and `file:line` of it."""

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(f"{what}, at {place}" if place else what)
