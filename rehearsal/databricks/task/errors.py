"""What a workspace can do and this machine cannot: it counts as not run, and is nobody's fault."""

import re


class UnsupportedHere(NotImplementedError, AttributeError):
    """What a workspace can do and this stand-in cannot; hasattr() says no to it."""


# What Databricks' runtime brings, and the engines' environments do not have.
RUNTIME = {
    *("delta", "mlflow", "databricks", "dbruntime", "sklearn", "scipy", "matplotlib", "seaborn"),
    *("plotly", "requests", "boto3", "botocore", "yaml", "tqdm", "statsmodels", "xgboost", "torch"),
    *("IPython", "koalas", "pyodbc", "azure", "google", "snowflake", "nltk", "lightgbm"),
}
STORAGE = re.compile(r"/(Volumes|dbfs)(/|$)|(dbfs|s3a?|abfss|gs|wasbs):/")
noted: list[str] = []  # the %pip commands of this process


def limit(error: BaseException) -> str:
    """What an error says that this machine lacks, on any engine; "" for one of the team's.

    An error that was raised from another one is about that one.
    """
    if isinstance(error.__cause__, UnsupportedHere):
        return str(error.__cause__)
    if isinstance(error, UnsupportedHere):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return missing_module((error.name or "").partition(".")[0])
    if isinstance(error, OSError) and STORAGE.match(str(error.filename or "")):
        return f"{error.filename}: the rehearsal has no volumes and no cloud storage"
    return ""


def limit_of_tests(error: BaseException, pattern: re.Pattern[str]) -> str:
    """The first failure of a test run, if a pattern finds in each one what is lacking; or ""."""
    failed = failures(f"{type(error).__name__}: {error}")
    found = all(pattern.search(failure) for failure in failed)
    is_of_tests = type(error).__name__ == "NutterTestsFailed" and bool(failed)
    return failed[0].partition("\n")[0] if is_of_tests and found else ""


def failures(error: str) -> list[str]:
    """The single failures that an error's text names: a test run names several."""
    text = error.partition("\nTraceback ")[0]
    tests = re.split(r"(?m)^(?=\w+\.\w+: )", text)[1:]
    return tests if text.startswith("NutterTestsFailed") else [text]


def missing_module(name: str) -> str:
    """Why a module is missing here and would not be in a workspace, or ""."""
    if name in RUNTIME:
        return f"the module {name}: Databricks' runtime brings it, the rehearsal's does not"
    if noted:
        return f"{'; '.join(noted)}: the rehearsal installs a task's libraries, not a notebook's"
    return ""
