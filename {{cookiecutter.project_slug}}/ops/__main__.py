"""The commands of this repository: python -m ops <command> [options]."""

from pathlib import Path

import click


@click.group()
def main() -> None:
    """Operates this repository's pipeline."""


@main.command()
@click.option("--strict", is_flag=True, help="Fail on what was not checked, too.")
@click.argument("path", type=click.Path(path_type=Path), default=Path(__file__).parent.parent)
def check(path: Path, strict: bool) -> None:
    """Prove the repository without a cloud."""
    from ops.check import run

    raise SystemExit(run(path, strict))


if __name__ == "__main__":
    main()
