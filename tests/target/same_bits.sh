#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# same_bits.sh NATIVE BUDGET BOARD...: the hashes that a board prints are those that this machine prints, and its stack was
# within the BUDGET of Session::Feed (walls/stack.budget). BOARD may be a command with arguments. Exit code 77: there is no
# native build, or the board's memory is too small.
set -u
native=$1 budget=$2
shift 2
board=$("$@")
code=$?
echo "$board"
[ "$code" = 0 ] || exit "$code"
allowed=$(awk '/::Feed\(/ { print $1 }' "$budget")
echo "$board" | awk -v allowed="$allowed" '/^stack of Feed:/ && $4 > allowed { print "more stack than " allowed; exit 1 }' || exit 1
[ -x "$native" ] || { echo "no $native to compare with: build the host preset first"; exit 77; }
here=$("$native") || { echo "$native failed"; echo "$here"; exit 1; }
hashes=$(echo "$board" | grep ': hash ')
echo "$hashes" | while read -r line; do
  echo "$here" | grep -qxF "$line" || { echo "not so here: $line"; exit 1; }
done || exit 1
echo "the same bits, $(echo "$hashes" | wc -l) times"
