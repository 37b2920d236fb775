#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# same_bits.sh NATIVE BOARD...: the hashes that a board prints are those that this machine prints. BOARD may be a command with
# arguments. Exit code 77: there is no native build, or the board's memory is too small.
set -u
native=$1
shift
board=$("$@")
code=$?
echo "$board"
[ "$code" = 0 ] || exit "$code"
[ -x "$native" ] || { echo "no $native to compare with: build the host preset first"; exit 77; }
here=$("$native") || { echo "$native failed"; echo "$here"; exit 1; }
hashes=$(echo "$board" | grep ': hash ')
echo "$hashes" | while read -r line; do
  echo "$here" | grep -qxF "$line" || { echo "not so here: $line"; exit 1; }
done || exit 1
echo "the same bits, $(echo "$hashes" | wc -l) times"
