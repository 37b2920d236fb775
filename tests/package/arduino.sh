#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# arduino.sh WORK: the library that toolchains/arduino/library.cmake lays out, by the rules of Arduino's library specification
# (1.5, revision 2.2); each of its files compiled as arduino-cli does, for a Cortex-M4F; the example linked with the archive of
# them and run in QEMU. There is no arduino-cli here: the header in arduino/ stands in for a core of Arduino's.
set -eu
work=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=$work/Thimble
cortex_m=$root/toolchains/cortex-m
rm -rf "$work"
cmake -DTO="$work" -P "$root/toolchains/arduino/library.cmake"

fail() { echo "$1"; exit 1; }
property() { sed -n "s/^$1=//p" "$library/library.properties"; }
for key in name version author maintainer sentence paragraph category architectures includes; do
  [ "$(property "$key" | grep -c .)" = 1 ] || fail "library.properties: $key"
done
grep -q '^url=' "$library/library.properties" || fail "library.properties: url"
[ "$(property version)" = "$(sed -n 's/^project(thimble VERSION \([0-9]*\.[0-9]*\.[0-9]*\) .*/\1/p' "$root/CMakeLists.txt")" ] ||
  fail "library.properties: version"
[ "$(property name)" = "$(basename "$library")" ] || fail "library.properties: name"
case $(property category) in
  Display | Communication | "Signal Input/Output" | Sensors | "Device Control" | Timing | "Data Storage" | "Data Processing" | Other) ;;
  *) fail "library.properties: category" ;;
esac
[ -f "$library/src/$(property includes)" ] || fail "library.properties: includes"
[ "$(property dot_a_linkage)" = true ] || fail "an archive is needed: a program's list of formats takes the place of ours"
[ "$(cd "$library" && echo *)" = "LICENSE examples library.properties src" ] || fail "what lies at the top"
[ -z "$(find "$library/src" -type f ! -name '*.h' ! -name '*.cpp' ! -name '*.inc')" ] || fail "files that Arduino does not know"
same=$(find "$library/src" -name '*.cpp' -exec basename '{}' ';' | sort | uniq -d)
[ -z "$same" ] || fail "members of one name, of which an archive keeps the last: $same"
grep -rhoE '^#include "[^"]*"' "$library/src" | sort -u | sed 's/.*"\(.*\)"/\1/' | while read -r header; do
  [ -f "$library/src/$header" ] || fail "$header is included and not there"
done
for sketch in "$library"/examples/*; do
  [ -f "$sketch/$(basename "$sketch").ino" ] || fail "a folder of examples without its sketch: $sketch"
done

core="-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -Os -ffunction-sections -fdata-sections"
cxx="arm-none-eabi-g++ $core -std=gnu++20 -fno-exceptions -fno-rtti -fno-threadsafe-statics -DARDUINO=10607 -Wall -Werror -Wno-psabi"
find "$library/src" -name '*.cpp' | xargs -P "$(nproc)" -I '{}' $cxx -I "$library/src" -c '{}' -o '{}.o'
find "$library/src" -name '*.o' | sort | while read -r object; do arm-none-eabi-ar rcs "$work/Thimble.a" "$object"; done
[ "$(arm-none-eabi-ar t "$work/Thimble.a" | wc -l)" = "$(find "$library/src" -name '*.cpp' | wc -l)" ] || fail "members"

sketch=$library/examples/Classify/Classify
{ echo '#include <Arduino.h>'; cat "$sketch.ino"; } > "$sketch.ino.cpp"
$cxx -I "$library/src" -I "$here/arduino" -I "$root" -c "$sketch.ino.cpp" -o "$work/sketch.o"
$cxx -c "$here/arduino/main.cc" -o "$work/main.o"
for file in startup semihosting systick; do
  arm-none-eabi-gcc $core -DBOARD_MHZ=25 -I "$cortex_m" -c "$cortex_m/$file.c" -o "$work/$file.o"
done
$cxx "$work"/*.o "$work/Thimble.a" -nostartfiles -L "$cortex_m" -T mps2.ld -Wl,--gc-sections -Wl,--defsym=__stack_bytes=12288 \
  -o "$work/sketch.elf"
arm-none-eabi-size "$work/sketch.elf"
answer=$(echo "how would you say fly in italian" | "$cortex_m/run.sh" mps2-an386 "$work/sketch.elf" | tr -d '\r')
case $answer in
  "translate 0.9"*) ;;
  *) fail "the sketch answers: $answer" ;;
esac
