"""What the build image has: a Python of its own with pip, the AWS client, a few tools."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from rehearsal.machine.packages import UV

SYSTEM = ["/usr/bin", "/bin"]
TOOLS = ("git", "make", "curl", "unzip", "java")  # what the image has, wherever it is here
IMAGE = Path(sys.prefix, "image")  # made by the first build, used by all


def make_image(folder: Path, aws: Path) -> None:
    """Makes a build's image in `folder`; `aws` is its AWS client."""
    copy_environment(python_image(), folder)
    (folder / "bin/aws").symlink_to(aws)
    for tool in TOOLS:
        path = shutil.which(tool)
        if path and str(Path(path).parent) not in SYSTEM:
            (folder / "bin" / tool).symlink_to(path)


def search_path(folder: Path) -> str:
    """The PATH of an image in `folder`."""
    return os.pathsep.join([str(folder / "bin"), *SYSTEM])


def python_image() -> Path:
    """An environment with pip, which nothing is installed into."""
    with FileLock(f"{IMAGE}.lock"):
        if not IMAGE.is_dir():
            part = IMAGE.with_suffix(".part")
            venv = ["venv", "--quiet", "--clear", "--relocatable", "--seed"]
            subprocess.run([UV, *venv, "--python", sys.executable, part], check=True)
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
