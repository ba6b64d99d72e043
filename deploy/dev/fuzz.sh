#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for so many seconds, or those that are named: fuzz.sh [SECONDS [TARGET…]].
# What breaks one is left in fuzz/artifacts, what is worth keeping in target/fuzz-corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly seconds="${1:-60}"
targets=("${@:2}")
if ((${#targets[@]} == 0)); then
  targets=(framing native senml sunspec acquisuite egauge rainforest mii sma mapping http unpack)
fi

cargo +nightly --version >/dev/null 2>&1 || {
  echo "fuzz.sh: a nightly compiler is needed: rustup toolchain install nightly --profile minimal" >&2
  exit 1
}
readonly tools="$PWD/target/tools"
if ! PATH="$tools/bin:$PATH" command -v cargo-fuzz >/dev/null; then
  env -u RUSTFLAGS -u CARGO_BUILD_TARGET cargo +nightly install --quiet --locked --root "$tools" cargo-fuzz@0.13.2
fi
export PATH="$tools/bin:$PATH"
# The sanitizer's runtime is not linked statically.
unset RUSTFLAGS CARGO_BUILD_TARGET

for target in "${targets[@]}"; do
  kept="target/fuzz-corpus/$target"
  mkdir -p "$kept"
  seeds=("fuzz/corpus/$target")
  [[ -d "fixtures/$target" ]] && seeds+=("fixtures/$target")
  features=()
  case "$target" in http | unpack) features=(--features server) ;; esac
  echo "fuzz.sh: $target, $seconds s"
  cargo +nightly fuzz run --fuzz-dir fuzz "${features[@]}" "$target" "$kept" "${seeds[@]}" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -verbosity=0
done
