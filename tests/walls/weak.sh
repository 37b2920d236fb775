#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# weak.sh NM LIBRARY: an object that is compiled for an instruction set must not define an inline function that others also
# define: the linker keeps any one copy, and a processor without these instructions would meet it. What it may define is
# what carries its tag (arm/isa.h).
set -eu
nm=$1
library=$2
symbols=$("$nm" -C -A "$library" | grep -E ':(float|matmul)_[a-z0-9]+\.cc\.o:.* [WVu] ') || { echo "no kernels in $library"; exit 1; }
if printf '%s\n' "$symbols" | grep -vE 'thimble::(Neon|NeonDot|NeonI8mm|Avx2|Avx512)([^A-Za-z0-9]|$)'; then
  echo "these symbols may be shared with code for other processors"
  exit 1
fi
