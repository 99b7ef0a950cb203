#!/usr/bin/env bash
# Runs what databricks.yml names as `job` for a target, if anything, and waits for it `job_minutes` at most.
set -euo pipefail
target=${1:?usage: run_job.sh TARGET}

summary=$(databricks bundle summary -t "$target" -o json)
values=$(python -I -c '
import json, sys
variables = json.load(sys.stdin)["variables"]
print(*(variables[name]["value"] for name in ("job_minutes", "job")))' <<<"$summary")
read -r minutes job <<<"$values"

if [ -z "$job" ]; then
  echo "run_job.sh: $target: no job is to run (the variable job in databricks.yml is empty)"
  exit
fi
if ! [[ $job =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ && $minutes =~ ^[1-9][0-9]?$|^100$ ]]; then
  echo "run_job.sh: $target: in databricks.yml, job must be the key of a job or pipeline, job_minutes 1 to 100" >&2
  exit 1
fi
limit=$(command -v timeout || command -v gtimeout) || limit=""  # a Mac may have none, and waits as long as it takes
status=0
${limit:+"$limit" "${minutes}m"} databricks bundle run -t "$target" "$job" || status=$?
if [ "$status" = 124 ]; then
  echo "run_job.sh: $target: $job still runs after $minutes minutes (job_minutes in databricks.yml). The build waits no" \
    "longer; the run goes on in the workspace, at the Run URL above. The release is deployed." >&2
elif [ "$status" != 0 ]; then
  echo "run_job.sh: $target: $job failed, see above. The release is deployed." >&2
fi
exit "$status"
