#!/usr/bin/env bash
# Takes the wheel, and nothing else, out of QA's artifact, into dist/ of the commit in this directory.
set -euo pipefail
artifact=${1:?usage: take_wheel.sh ARTIFACT_FOLDER}

rm -rf dist  # a commit may have one, but production gets what QA has tested
mkdir dist
cp -- "$artifact"/dist/*.whl dist/
