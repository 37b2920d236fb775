#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# firmware_files.sh THIMBLE...: whether the committed pack and plan of examples/firmware are what the program makes of the committed
# model. To write them anew, run the two commands below with the files themselves as output.
top=$(cd "$(dirname "$0")/../.." && pwd)
firmware=$top/examples/firmware
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$@" pack "$top/examples/intent/intent-s-q4_0.gguf" --recipe exact -o "$work/intent.thimble" > "$work/log" || exit 1
"$@" plan "$firmware/intent.thimble" --header --ctx 64 --batch 2 --kv q8 --state i16 > "$work/intent_plan.h" || exit 1
cmp "$work/intent.thimble" "$firmware/intent.thimble" && cmp "$work/intent_plan.h" "$firmware/intent_plan.h"
