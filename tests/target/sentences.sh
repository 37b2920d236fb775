#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# sentences.sh COUNT PROGRAM...: sentences_test with the first sentences of tests/data/intent/s_sentences.tsv.
count=$1
shift
grep -v '^#' "$(dirname "$0")/../data/intent/s_sentences.tsv" | head -n "$count" | "$@"
