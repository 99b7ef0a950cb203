#!/usr/bin/env bash
# Mints the build's AWS identity token into a file, and anew every five minutes while the build runs:
# a token lives 15 minutes, a build may take hours. Ends when the file is gone.
set -euo pipefail
file=${1:?usage: mint_token.sh FILE}
umask 077

mint() {
  aws sts get-web-identity-token --audience databricks --signing-algorithm RS256 \
    --duration-seconds 900 --query WebIdentityToken --output text >"$file.new" &&
    mv "$file.new" "$file"  # in one step: the client never reads half a token
}

mint || {
  rm -f "$file.new"
  echo "mint_token.sh: AWS gave no identity token. Is outbound federation enabled in this account?" \
    "Once per account: aws iam enable-outbound-web-identity-federation (docs/security.md)" >&2
  exit 1
}
# The build's shell ends with its phase; without the hangup signal this loop goes on.
trap '' HUP
while sleep 300 && [ -e "$file" ]; do
  mint || echo "mint_token.sh: no new token this time; trying again in five minutes" >&2  # accepted: echo (a token outlives two turns)
done </dev/null >>"$file.log" 2>&1 &
