#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh cmake|pkg-config CXX PREFIX WORK: builds the program of this directory against the package installed in PREFIX, the
# way a user's project would, and runs it.
set -eu
how=$1 cxx=$2 prefix=$3 work=$4
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work"
case $how in
  cmake)
    cmake -G Ninja -S "$here" -B "$work" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix"
    cmake --build "$work"
    ;;
  pkg-config)
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name thimble.pc)")
    export PKG_CONFIG_PATH
    "$cxx" "$here/main.cc" $(pkg-config --cflags --libs thimble) -o "$work/consumer"
    ;;
esac
"$work/consumer"
