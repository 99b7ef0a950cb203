#!/usr/bin/env bash
# Plans the release in this directory against prod. A plan that is not empty is drift: somebody has changed
# prod by hand. Writes what the build exports into drift.env, and mails which resources and fields differ.
set -euo pipefail

report() {  # one of the words in names.py, and a sentence for people
  printf 'export DRIFT_STATUS=%q DRIFT=%q\n' "$1" "$2" >drift.env
}

status=$(python cicd/steps/release.py status "$PIPELINE")
if [ "$status" != Succeeded ]; then
  # This release is not what prod has, or not for long: a difference need not be a change by hand.
  report unknown "not known: the last deployment is $status"
  exit
fi
bash cicd/steps/install_cli.sh
python cicd/steps/preflight.py prod
databricks bundle plan -t prod -o json >plan.json
python cicd/steps/plan.py drift plan.json | tee mail.txt
sentence=$(head -n 1 mail.txt)
if [ "$sentence" = none ]; then
  report in-sync none
  exit
fi
report drifted "$sentence"
aws sns publish --topic-arn "$TOPIC" --subject "${PIPELINE:0:70}: production has drifted" --message file://mail.txt
