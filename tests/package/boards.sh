#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# boards.sh cmake|zephyr|esp-idf WORK: the firmware of board/main.cc with Thimble's sources in it, the way in that is named,
# for a Cortex-M4F, and run in QEMU. There is neither Zephyr nor ESP-IDF here: the projects in zephyr/ and esp-idf/ stand in
# for them. Ends with 77 where a program for that is missing.
set -eu
how=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rm -rf "$work"
mkdir -p "$work"
python=/usr/bin/python3  # Debian's own, which sees Debian's packages
[ "$how" = cmake ] || [ -x $python ] || { echo "$python is missing"; exit 77; }
case $how in
  cmake)
    cmake -G Ninja -S "$here/board" -B "$work" -DTHIMBLE="$root" -DCMAKE_BUILD_TYPE=MinSizeRel \
      -DCMAKE_TOOLCHAIN_FILE="$here/board/toolchain.cmake"
    ;;
  zephyr)
    $python "$here/zephyr/settings.py" "$root" "$work/config"
    cmake -G Ninja -S "$here/zephyr" -B "$work" -DTHIMBLE="$root" -DDOTCONFIG="$work/config"
    ;;
  esp-idf)
    $python "$here/esp-idf/manifest.py" "$root"
    cmake -G Ninja -S "$here/esp-idf" -B "$work" -DTHIMBLE="$root"
    ;;
esac
cmake --build "$work"
libraries=$(ninja -C "$work" -t targets all | grep -c 'libthimble_[a-z]*\.a: CXX_STATIC_LIBRARY_LINKER')
programs=$(ninja -C "$work" -t targets all | grep -c ': CXX_EXECUTABLE_LINKER')
[ "$libraries $programs" = "4 1" ] || { echo "built $libraries libraries and $programs programs, not 4 and 1"; exit 1; }
"$root/toolchains/cortex-m/run.sh" mps2-an386 "$work/firmware"
