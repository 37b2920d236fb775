#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh cmake|pkg-config CXX PREFIX WORK: builds the program of this directory against the package installed in PREFIX, the
# way a user's project would, and runs it; then the C example of io/README.md the same way, with a C compiler alone.
set -eu
how=$1 cxx=$2 prefix=$3 work=$4
strict='-Wall -Wextra -Wpedantic -Wconversion -Werror'
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work/c"
example=$work/c/example.c
sed -n '/^    #include <stdio.h>$/,/^    }$/s/^    //p' "$here/../../io/README.md" > "$example"
grep -q '^int main' "$example"
case $how in
  cmake)
    cmake -G Ninja -S "$here" -B "$work" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix"
    cmake --build "$work"
    cmake -G Ninja -S "$here/c" -B "$work/c" -DSOURCE="$example" -DCMAKE_C_FLAGS="$strict" -DCMAKE_PREFIX_PATH="$prefix"
    cmake --build "$work/c"
    ;;
  pkg-config)
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name thimble.pc)")
    export PKG_CONFIG_PATH
    "$cxx" "$here/main.cc" $(pkg-config --cflags --libs thimble) -o "$work/consumer"
    cc -std=c11 $strict "$example" "$here/c/fast.c" $(pkg-config --cflags --libs thimble-c) -o "$work/c/consumer"
    ;;
esac
"$work/consumer"
answer=$("$work/c/consumer" "$here/../../examples/intent/intent-q4_0.gguf" "how would you say fly in italian")
echo "$answer"
[ "$answer" = "translate 0.954" ]
