"""The real `aws` client, started warm: imports are half of each call otherwise (see warm.py)."""


def warm_up() -> None:
    """Imports the client, with what it imports itself only at a call."""
    import awscli.clidriver

    awscli.clidriver.create_clidriver()


def main(arguments: list[str]) -> int:
    """Runs `aws` with these arguments, which warm.py has also put into sys.argv."""
    import importlib

    import awscli
    import awscli.clidriver

    importlib.reload(awscli)  # it puts the place of its data into the environment, now the caller's
    try:
        return int(awscli.clidriver.main())
    except SystemExit as ended:  # of argparse
        return ended.code if isinstance(ended.code, int) else 1
