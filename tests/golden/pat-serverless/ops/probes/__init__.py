"""What `make doctor` looks at, a subject a file. A probe returns what is well, or raises these."""


class Problem(Exception):
    """What is wrong, and the command that mends it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


class Note(Problem):
    """What differs, but stops neither the stack nor the pipeline."""


class NotChecked(Exception):
    """Why a probe cannot say."""
