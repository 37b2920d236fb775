#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fetch.sh CXX WORK: the project in fetch/ gets Thimble's libraries from its sources and nothing else: no other test, program
# or file to install, no warnings or optimisation of ours in its commands, and its own build type, which is none.
set -eu
cxx=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
cmake -G Ninja -S "$here/fetch" -B "$work" -DCMAKE_CXX_COMPILER="$cxx" -DTHIMBLE="$here/../.."
cmake --build "$work"
cmake --install "$work" --prefix "$work/prefix"

same() {  # WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || { echo "$1: expected $2, got $3"; exit 1; }
}
same "tests" 1 "$(ctest --test-dir "$work" -N | sed -n 's/^Total Tests: //p')"
ctest --test-dir "$work" --output-on-failure
same "installed" "bin/program" "$(cd "$work/prefix" && find . -type f | sed 's|^\./||')"
same "programs" "program" "$(ninja -C "$work" -t targets all | sed -n 's/^\([^/]*\): CXX_EXECUTABLE_LINKER.*/\1/p')"
same "libraries" 4 "$(ninja -C "$work" -t targets all | grep -c ': CXX_STATIC_LIBRARY_LINKER')"
ninja -C "$work" -t commands program | grep -e ' -c ' > "$work/commands"
same "commands with flags of ours" "" "$(grep -E -e ' -(W[^n]|O|DNDEBUG)' "$work/commands" || true)"
same "rooms whose numbers may differ" "" "$(grep -v 'main\.cc$' "$work/commands" | grep -v 'ffp-contract=[of]' || true)"
