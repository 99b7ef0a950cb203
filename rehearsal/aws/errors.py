"""What goes wrong in the account: AWS's own errors, and what the rehearsal does not play."""


class AwsError(Exception):
    """An error as AWS answers it. protocols.py writes it in the form of each service's protocol."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message or code)
        self.code, self.message, self.status = code, message or code, status


def access_denied(message: str) -> AwsError:
    """The error for a caller who may not do what they ask for."""
    return AwsError("AccessDenied", message, 403)


class Unsupported(NotImplementedError):
    """What AWS can do and the rehearsal does not play. It is no fault of the repository."""
