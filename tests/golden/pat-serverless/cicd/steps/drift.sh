#!/usr/bin/env bash
# Plans the release in this directory against prod. A plan that is not empty is drift: somebody has changed
# prod by hand. Writes one line into drift.txt, and mails which resources and fields differ.
set -euo pipefail

status=$(python cicd/steps/release.py status "$PIPELINE")
if [ "$status" != Succeeded ]; then
  # This release is not what prod has, or not for long: what differs need not be anybody's hand.
  echo "not known: the last deployment is $status" | tee drift.txt
  exit
fi
bash cicd/steps/install_cli.sh
python cicd/steps/preflight.py prod
databricks bundle plan -t prod -o json >plan.json
python cicd/steps/plan.py drift plan.json | tee mail.txt
head -n 1 mail.txt >drift.txt
if [ "$(cat drift.txt)" != "none" ]; then
  aws sns publish --topic-arn "$TOPIC" --subject "${PIPELINE:0:70}: production has drifted" \
    --message file://mail.txt
fi
