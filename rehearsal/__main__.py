"""The command `rehearse`, or `python -m rehearsal`."""

import contextlib
import errno
import sys

from rehearsal.machine.gate import close_network
from rehearsal.machine.process import Stopped, complete_streams, hear_endings


def main() -> int:
    """Runs the command; returns its exit code."""
    try:
        hear_endings()
        complete_streams()
        close_network()
        from rehearsal.command import main as play  # takes a second: Ctrl-C may come before its end

        return play()
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # a terminal that is closed
            print("\nStopped.", flush=True)
        return stopped.code
    except OSError as error:
        return refused(error)


# What the machine refuses; any other error is a bug of ours.
REFUSALS = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
)


def refused(error: OSError) -> int:
    """Says what the machine has refused to write or read; returns the exit code."""
    if error.errno not in REFUSALS:
        raise error
    with contextlib.suppress(OSError):
        print(f"{error.filename or 'The output'}: {error.strerror}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
