#!/usr/bin/env bash
# Runs the nutter job of a target and fetches its JUnit XML into reports/nutter, also when tests failed.
set -euo pipefail
target=${1:?usage: run_nutter.sh TARGET}

root=$(databricks bundle summary -t "$target" -o json |
  python -I -c 'import json, sys; print(json.load(sys.stdin)["workspace"]["root_path"])')
# A directory for this build alone, so that no earlier build's report is taken for this one's.
results="$root/nutter/build-${CODEBUILD_BUILD_NUMBER:-local}"

status=0
databricks bundle run -t "$target" nutter --params "results=$results" || status=$?

mkdir -p reports/nutter
if ! databricks workspace export-dir "$results" reports/nutter --overwrite; then
  echo "run_nutter.sh: the job has no folder $results" >&2
fi
reports=$(find reports/nutter -name '*.xml' -size +0 | wc -l)
if [ "$reports" -gt 0 ]; then  # the client succeeds on an empty folder, too
  databricks workspace delete --recursive "$results"
else
  echo "run_nutter.sh: no test report in $results: the job stopped before its tests; its run says why" >&2
  status=1
fi
exit "$status"
