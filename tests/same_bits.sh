#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# same_bits.sh NATIVE EMULATED...: the portable kernels of two builds of the program give the same bytes of logits, for
# several models and with different numbers of threads. EMULATED may be a command with arguments. Exit code 77: there is no
# native build.
set -eu
native=$1
shift
[ -x "$native" ] || { echo "no $native to compare with: build the host preset first"; exit 77; }
data=$(dirname "$0")/data/model
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ids=$(seq -s, 1 100)
for model in grouped irregular yarn q_q4_k_m q_iq4_xs q_q6_k; do
  "$native" logits "$data/$model.gguf" --ids "$ids" --kv f16 --backend portable --threads 1 --out "$work/native"
  "$@" logits "$data/$model.gguf" --ids "$ids" --kv f16 --backend portable --threads 2 --out "$work/emulated"
  cmp "$work/native" "$work/emulated" || { echo "$model: other bits"; exit 1; }
  echo "$model: the same $(wc -c < "$work/native") bytes"
done
