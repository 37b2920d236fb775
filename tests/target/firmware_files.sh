#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# firmware_files.sh THIMBLE...: whether what is committed in examples/firmware is what the program makes of the committed model. With
# WRITE=1 in front it is written anew instead.
top=$(cd "$(dirname "$0")/../.." && pwd)
firmware=$top/examples/firmware
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limits="--ctx 64 --batch 2 --kv q8 --state i16"
"$@" pack "$top/examples/intent/intent-s-q4_0.gguf" --recipe exact -o "$work/intent.thimble" > "$work/log" || exit 1
"$@" plan "$work/intent.thimble" --header $limits > "$work/intent_plan.h" || exit 1
"$@" plan "$work/intent.thimble" --source $limits > "$work/intent_model.cc" || exit 1
for file in intent.thimble intent_plan.h intent_model.cc; do
  if [ -n "$WRITE" ]; then cp "$work/$file" "$firmware/$file"; else cmp "$work/$file" "$firmware/$file"; fi || exit 1
done
