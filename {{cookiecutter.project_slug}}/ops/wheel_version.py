"""The wheel's version: BASE, and in a build the build's number behind it.

Compute keeps an installed wheel of the same version, so every build needs a version of its own.
"""

import os

BASE = "0.1.0"
BUILD = os.environ.get("CODEBUILD_BUILD_NUMBER")
__version__ = f"{BASE}+{BUILD}" if BUILD else BASE
