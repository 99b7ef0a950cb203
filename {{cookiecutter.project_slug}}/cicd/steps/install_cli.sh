#!/usr/bin/env bash
# Installs the Databricks CLI that tools.env pins. Nothing is run before its checksum is right.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$0")/../tools.env"

archive="databricks_cli_${DATABRICKS_CLI_VERSION}_linux_amd64.zip"
sums="databricks_cli_${DATABRICKS_CLI_VERSION}_SHA256SUMS"
bin_dir=${BIN_DIR:-/usr/local/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "install_cli.sh: $*" >&2
  exit 1
}

for file in "$sums" "$archive"; do
  url="${DATABRICKS_CLI_BASE_URL}/v${DATABRICKS_CLI_VERSION}/${file}"
  # https, also where a server sends it on
  curl --proto "=https" --proto-redir "=https" --fail --silent --show-error --location \
    --retry 3 --max-time 300 \
    --output "$work/$file" "$url" ||
    fail "cannot download $url. Is there such a release, and may this build reach it?" \
      "DATABRICKS_CLI_BASE_URL in cicd/tools.env names the place."
done

actual=$(sha256sum "$work/$archive" | cut -d ' ' -f 1)
published=$(awk -v name="$archive" '{ sub(/^\*/, "", $2) } $2 == name { print $1 }' "$work/$sums")
[ "$actual" = "$published" ] ||
  fail "checksum of $archive is $actual, but $sums says '${published:-nothing}'." \
    "It is not installed: find out why before you go on."
[ "$actual" = "${DATABRICKS_CLI_SHA256:-$actual}" ] ||
  fail "checksum of $archive is $actual, but cicd/tools.env pins $DATABRICKS_CLI_SHA256." \
    "It is not installed. If you trust the new one: make pin-cli VERSION=$DATABRICKS_CLI_VERSION"

unzip -q -o "$work/$archive" databricks -d "$bin_dir"
"$bin_dir/databricks" --version
