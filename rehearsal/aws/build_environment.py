"""What a build finds: the image's programs, and variables. Nothing of this machine's but registry
settings.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from filelock import FileLock

from rehearsal.aws.build import Context, PhaseError
from rehearsal.aws.build_files import Buildspec
from rehearsal.aws.stack import ACCOUNT
from rehearsal.machine.caches import UV, shared_bytecode

SYSTEM = ["/usr/bin", "/bin"]
TOOLS = ("git", "make", "curl", "unzip", "java")  # what the image has, wherever it is here
IMAGE = Path(sys.prefix, "image")  # made by the first build, used by all


def make_image(folder: Path, aws: Path, network: dict[str, str]) -> None:
    """Makes a build's image in `folder`; `aws` is its AWS client."""
    copy_environment(python_image(os.environ | network), folder)
    (folder / "bin/aws").symlink_to(aws)
    for tool in TOOLS:
        path = shutil.which(tool)
        if path and str(Path(path).parent) not in SYSTEM:
            (folder / "bin" / tool).symlink_to(path)


def python_image(env: Mapping[str, str]) -> Path:
    """An environment with pip, which nothing is installed into."""
    with FileLock(f"{IMAGE}.lock"):
        if not IMAGE.is_dir():
            part = IMAGE.with_suffix(".part")
            venv = ["venv", "--quiet", "--clear", "--relocatable", "--seed"]
            subprocess.run([UV, *venv, "--python", sys.executable, part], env=env, check=True)
            part.rename(IMAGE)
    return IMAGE


def copy_environment(image: Path, folder: Path) -> None:
    """Makes an environment that has an image's packages, and room for more.

    A path file leads to those packages: a thousand files fewer to copy for each build. pip takes
    them for the system's, and does not change them.
    """
    (site_packages,) = image.glob("lib/python*/site-packages")
    own = folder / site_packages.relative_to(image)
    own.mkdir(parents=True)
    line = f"import site; site.addsitedir({str(site_packages)!r})\n"
    (own / "image.pth").write_text(line, encoding="utf-8")
    shutil.copytree(image / "bin", folder / "bin", symlinks=True)
    shutil.copy2(image / "pyvenv.cfg", folder)


# What is kept of the host's environment: indexes, certificates, caches, the language.
REGISTRY = re.compile(
    r"PIP_(CACHE_DIR|CERT|CLIENT_CERT|CONFIG_FILE|FIND_LINKS|KEYRING_PROVIDER|TRUSTED_HOST)"
    r"|PIP_(DEFAULT_TIMEOUT|DISABLE_PIP_VERSION_CHECK|RETRIES)"
    r"|(PIP|UV)_(EXTRA_INDEX_URL|INDEX_URL|INDEX_\w+|INDEX|DEFAULT_INDEX)"
    r"|UV_(CACHE_DIR|CONFIG_FILE|FIND_LINKS|HTTP_TIMEOUT|INSECURE_HOST|KEYRING_PROVIDER|LINK_MODE)"
    r"|UV_(NATIVE_TLS|SYSTEM_CERTS|PYTHON_INSTALL_\w+|TOOL_DIR)|SSL_CERT_DIR|LANG|LC_ALL|TZ"
)
SECTIONS = {"shell", "variables", "secrets-manager", "exported-variables"}
Variable = tuple[str, Any, str]  # name, value, type


def environment(context: Context, spec: Buildspec, extra: dict[str, str]) -> dict[str, str]:
    """All variables of a build. Raises PhaseError."""
    section = spec.get("env", {})
    if unknown := set(section) - SECTIONS:
        raise PhaseError(f"the rehearsal does not know env: {sorted(unknown)}")
    # Later ones win: the buildspec over the machine, the project and the caller over the buildspec.
    variables = {key: value for key, value in os.environ.items() if REGISTRY.fullmatch(key)}
    variables |= built_in(context)
    variables |= context.account.environment(context.credentials) | context.variables | extra
    folder = context.folder
    project = folder.source / ".venv"
    variables |= shared_bytecode(folder.root, image=folder.image, project=project)
    variables |= {key: str(value) for key, value in section.get("variables", {}).items()}
    for name, value, kind in declared(context, section):
        variables[name] = resolve(context, name, value, kind)
    return variables


def built_in(context: Context) -> dict[str, str]:
    """Where things are, and what CodeBuild sets.

    https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
    """
    folder = context.folder
    return {
        "PATH": os.pathsep.join([str(folder.image / "bin"), *SYSTEM]),
        "HOME": str(folder.home),
        "TMPDIR": str(folder.tmp),
        "BIN_DIR": str(folder.image / "bin"),
        "CODEBUILD_BUILD_ID": context.build.id,
        "CODEBUILD_BUILD_ARN": context.build_arn,
        "CODEBUILD_BUILD_NUMBER": str(int(context.build.number)),
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_INITIATOR": context.request.initiator,
        "CODEBUILD_SRC_DIR": str(folder.source),
        "CODEBUILD_START_TIME": str(int(time.time() * 1000)),
        "AWS_ACCOUNT_ID": ACCOUNT,
    }


def declared(context: Context, section: dict[str, Any]) -> Iterator[Variable]:
    """The variables of the project, of whoever started the build, and the buildspec's secrets."""
    project = context.project.get("Environment", {}).get("EnvironmentVariables", [])
    for item in [*project, *context.request.variables]:
        # CloudFormation and the action write them with a capital, StartBuild without.
        fields = {key.lower(): value for key, value in item.items()}
        yield fields["name"], fields["value"], fields.get("type", "PLAINTEXT")
    for name, reference in section.get("secrets-manager", {}).items():
        yield name, reference, "SECRETS_MANAGER"


def resolve(context: Context, name: str, value: Any, kind: str) -> str:
    """A variable's value. Raises PhaseError."""
    if kind == "PLAINTEXT":
        return str(value)
    if kind == "SECRETS_MANAGER":
        secret = read_secret(context, name, str(value))
        context.secrets |= {secret} - {""}
        return secret
    raise PhaseError(f"{name}: the rehearsal does not know the type {kind}")


def read_secret(context: Context, variable: str, reference: str) -> str:
    """A secret's value by `id-or-arn:json-key:version-stage`, read with the build's role."""
    parts = reference.split(":")
    length = 7 if reference.startswith("arn:") else 1
    identity, key = ":".join(parts[:length]), (parts[length:] or [""])[0]
    try:
        answer = context.client("secretsmanager").get_secret_value(SecretId=identity)
    except ClientError as error:
        raise PhaseError(f"Secrets Manager error for {variable}: {error}") from None
    text = answer["SecretString"]
    if not key:
        return str(text)
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        raise PhaseError(f"Secrets Manager: {variable}: {identity} has no key {key}") from None
