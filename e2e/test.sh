#!/usr/bin/env bash
# Runs all tests, and says at the end, where one looks first, why each failed that did: test.sh [ARGUMENT OF cargo test]...
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --locked --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
if [ "$status" != 0 ]; then
  echo
  echo "why they failed:"
  awk '/^---- .* stdout ----$/ { told = 1 } /^stack backtrace:|^note: / { told = 0 } told && NF' "$log" | cut -c1-1000
fi
exit "$status"
