#!/usr/bin/env bash
# Plans the release that was deployed last against prod. A plan that is not empty is drift: somebody has changed
# prod by hand. Writes what the build exports into drift.env, and mails which resources and fields differ.
set -euo pipefail
here=$PWD

report() {  # one of the words in names.py, and a sentence for people
  printf 'export DRIFT_STATUS=%q DRIFT=%q\n' "$1" "$2" >"$here/drift.env"
}

fetched=0
python "$STEPS/deployed.py" "$PIPELINE" release || fetched=$?
if [ "$fetched" = 3 ]; then
  report no-release "no deployment on record"
  exit
fi
[ "$fetched" = 0 ] || exit "$fetched"
status=$(python "$STEPS/release.py" status "$PIPELINE")
if [ "$status" != Succeeded ]; then
  # This release is not what prod has, or not for long: a difference need not be a change by hand.
  report unknown "not known: the last deployment is $status"
  exit
fi
cd release
python "$STEPS/preflight.py" prod
databricks bundle plan -t prod -o json >"$here/plan.json"
python "$STEPS/plan.py" drift "$here/plan.json" | tee "$here/mail.txt"
cd "$here"
sentence=$(head -n 1 mail.txt)
if [ "$sentence" = none ]; then
  report in-sync none
  exit
fi
report drifted "$sentence"
aws sns publish --topic-arn "$TOPIC" --subject "${PIPELINE:0:70}: production has drifted" --message file://mail.txt
