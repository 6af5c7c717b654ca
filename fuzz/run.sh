#!/usr/bin/env bash
# Fuzzes each target for a bounded time. What it learns stays in the cache, so that the next run goes on there.
set -euo pipefail
seconds=$1
cache=${TIPSTREAM_CACHE:-$HOME/.cache/tipstream}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:$cache/bin

missing() { printf 'fuzz: no %s; install it with: %s\n' "$1" "$2" >&2; exit 1; }
cargo +nightly --version >/dev/null 2>&1 || missing "nightly toolchain" "rustup toolchain install nightly"
command -v cargo-fuzz >/dev/null || missing cargo-fuzz "cargo install cargo-fuzz --locked --root $cache"

# A folder of its own: another compiler and other flags would build the rest anew each time.
export CARGO_TARGET_DIR=$cache/fuzz/target
cd "$here/.."
for target in parse manifest geojson; do
  corpus=$cache/fuzz/corpus/$target
  mkdir -p "$corpus"
  # No sanitizer: there is no unsafe code of ours, and a panic is found without one.
  cargo +nightly fuzz run --sanitizer none "$target" "$corpus" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -print_final_stats=1
done
