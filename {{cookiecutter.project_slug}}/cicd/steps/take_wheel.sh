#!/usr/bin/env bash
# Takes the wheel, and nothing else, out of QA's artifact, into dist/ of the commit in this directory.
set -euo pipefail
rm -rf dist  # a commit may have one, but production gets what QA has tested
mkdir dist
cp -- "$CODEBUILD_SRC_DIR_Wheel"/dist/*.whl dist/
