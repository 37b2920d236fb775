# SPDX-License-Identifier: Apache-2.0
#
# For ./check and .ci/run: building presets, running their tests, and counting. To be sourced from the root of the tree.
passed=0
failed=0
skipped=0
mkdir -p build

part() {
  echo
  echo "== $1"
}

fail() {
  echo "FAILED: $1"
  failed=$((failed + 1))
}

skip() {
  echo "skipped: $1"
  skipped=$((skipped + 1))
}

summary() {
  echo
  if [ "$skipped" = 0 ]; then
    echo "$passed passed, $failed failed"
  else
    echo "$passed passed, $failed failed, $skipped skipped"
  fi
}

# Configures and builds a preset; on failure counts one, with the end of what the build said.
build() {  # PRESET
  log=build/$1.log
  if cmake --preset "$1" > "$log" 2>&1 && cmake --build --preset "$1" >> "$log" 2>&1; then
    echo "built $1"
    return 0
  fi
  grep -v '^\[' "$log" | tail -n 40
  fail "building $1"
  return 1
}

# Runs a test preset and adds up its tests. A test that could not start counts as failed.
run_tests() {  # TEST-PRESET
  results=$PWD/build/$1.xml
  rm -f "$results"
  ctest --preset "$1" --parallel "$(nproc)" --no-tests=error --output-junit "$results" > "build/$1.tests" 2>&1
  counts=$(awk '
    /<testcase / { status = /status="run"/ ? "p" : "f"; ++n[status] }
    /<skipped message="SKIP_/ { --n["f"]; ++n["s"] }
    END { printf "%d %d %d\n", n["p"], n["f"], n["s"] }' "$results" 2> /dev/null)
  set -- "$1" ${counts:-0 0 0}
  if [ "$2$3$4" = 000 ]; then
    tail -n 20 "build/$1.tests"
    fail "running the tests of $1"
    return
  fi
  [ "$3" = 0 ] || cat "build/$1.tests"
  echo "$1: $2 passed, $3 failed, $4 skipped"
  passed=$((passed + $2))
  failed=$((failed + $3))
  skipped=$((skipped + $4))
}
