"""The real `aws` client, started warm: imports are half of each call otherwise (see warm.py)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from awscli.botocore.loaders import Loader

# What builds call; models of other services are read at their first call.
SERVICES = ("codebuild", "codecommit", "codepipeline", "s3", "secretsmanager", "sns", "sts")


def warm_up() -> None:
    """Imports the client, and reads what most calls read of the services."""
    import awscli.clidriver
    import awscli.customizations.s3.subcommands

    keep_models(awscli.clidriver.create_clidriver().session.get_component("data_loader"))
    session = awscli.clidriver.create_clidriver().session
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    for service in SERVICES:
        session.create_client(service, "us-east-1", **keys)


def keep_models(loader: "Loader") -> None:
    """Lets all calls use what one has read of the services: half of the rest of a call's time."""
    import functools
    import os

    loaders, readers = type(loader), type(loader.file_loader)
    read, list_services = readers.load_file, loaders.list_available_services
    models = functools.cache(functools.partial(read, loader.file_loader))
    lists: dict[tuple[str, ...], list[str]] = {}

    def listed(self: "Loader", type_name: str) -> list[str]:
        # A user's own models are in a folder of the caller's HOME, which mostly is not there.
        key = (type_name, *filter(os.path.isdir, self.search_paths))
        if key not in lists:
            lists[key] = list_services(self, type_name)
        return list(lists[key])

    readers.load_file = lambda self, path: models(path)
    loaders.list_available_services = listed


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
