"""The command `rehearse`, or `python -m rehearsal`."""

import sys

from rehearsal.machine.gate import close_network


def main() -> int:
    """Runs the command; returns its exit code."""
    close_network()
    try:
        from rehearsal.command import main as play  # takes a second: Ctrl-C may come before its end
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    return play()


if __name__ == "__main__":
    sys.exit(main())
