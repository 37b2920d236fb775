#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# predictions.sh COUNT DIFFERENT PROGRAM...: the firmware `intent` with the first sentences of tests/data/intent/s_sentences.tsv. At most
# DIFFERENT labels may be others than Hugging Face's in float32, and no probability may be further than 0.02 from its.
count=$1 different=$2
shift 2
sentences=$(dirname "$0")/../data/intent/s_sentences.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -v '^#' "$sentences" | head -n "$count" > "$work/expected"
cut -f1 "$work/expected" | "$@" > "$work/printed" || { cat "$work/printed"; exit 1; }
grep '^#' "$work/printed"
grep -v '^#' "$work/printed" | paste "$work/expected" - | awk -F '\t' -v count="$count" -v different="$different" '
  { off = $3 - $5; if (off < 0) off = -off }
  $2 != $4 { ++others; print "another label: " $0; next }
  off > worst { worst = off }
  END {
    printf "%d sentences, %d other labels, probabilities within %.6f\n", NR, others, worst
    exit !(NR == count && others <= different && worst <= 0.02)
  }'
