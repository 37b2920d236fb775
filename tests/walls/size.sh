#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# size.sh CXX SOURCE_DIR [PROGRAM [OPTION]]: the flash that a program takes on a Cortex-M4F, by archive member, and whether it keeps the
# budgets of size.budget. The programs of size/ are compiled with the portable rooms at -Os and -O2, linked as a firmware is (sections
# that nobody calls left out; C library and compiler's arithmetic counted), and read off the linker's map. They are never run.
set -eu
cxx=$1 root=$2 only=${3:-} level=${4:-}
here=$root/tests/walls
budget=$here/size.budget
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard -mthumb -std=c++20 -DNDEBUG -fno-exceptions -fno-rtti -ffp-contract=off
  -fno-math-errno -ffunction-sections -fdata-sections -fno-threadsafe-statics -fno-unwind-tables -fno-asynchronous-unwind-tables -Wno-psabi"

# Members of the rooms: what they own, how much of it is code, how much constants.
table() {  # MAP
  awk '
    function hex(s, i, n) {
      for (i = 3; i <= length(s); ++i) n = 16 * n + index("0123456789abcdef", substr(s, i, 1)) - 1
      return n + 0
    }
    /^Linker script and memory map/ { on = 1 }
    !on { next }
    /^ \.[^ ]+$/ { held = $1; next }
    { if (held != "") { $0 = held " " $0; held = "" } }
    $1 ~ /^\.(text|rodata|data|bss)/ && NF >= 4 && $2 ~ /^0x/ && hex($2) > 0 {
      member = $4
      room = member ~ /libthimble_/ ? member : member ~ /libgcc/ ? "libgcc" : member ~ /libc/ ? "libc" : "program"
      sub(/.*libthimble_/, "", room)
      sub(/\.a.*/, "", room)
      sub(/.*[\/(]/, "", member)
      sub(/(\.cc)?\.o(bj)?\)?$/, "", member)
      key = room "/" member
      if ($1 ~ /^\.text/) code[key] += hex($3); else constants[key] += hex($3)
      all[key] = room
    }
    END {
      for (key in all) {
        printf "%7d %7d %7d  %s\n", code[key] + constants[key], code[key], constants[key], key
        c[all[key]] += code[key]
        k[all[key]] += constants[key]
      }
      for (room in c) printf "%7d %7d %7d  %s\n", c[room] + k[room], c[room], k[room], room
    }' "$1"
}

failed=0
for option in ${level:-Os O2}; do
  mkdir "$work/$option"
  for room in quant core io; do
    mkdir "$work/$option/$room"
    for file in "$root/$room"/*.cc; do
      case $file in *_posix.cc | *io/pack.cc | *io/pack_writer.cc | *io/hash.cc | *io/snapshot.cc) continue ;; esac
      echo "$file"
    done | xargs -P "$(nproc)" -I '{}' sh -c '"$0" $1 -I "$2" -c "$4" -o "$3/$(basename "$4" .cc).o"' \
      "$cxx" "$flags -$option" "$root" "$work/$option/$room" '{}'
    ar rcs "$work/$option/libthimble_$room.a" "$work/$option/$room"/*.o
  done
  for program in ${only:-core intent}; do
    map=$work/$option/$program.map
    "$cxx" $flags "-$option" -I "$root" -nostdlib -Wl,--gc-sections -Wl,-e,Start -Wl,--defsym=board_model=0x100000 "-Wl,-Map,$map" \
      "$here/size/$program.cc" "$root/examples/firmware/intent_model.cc" "$work/$option/libthimble_io.a" "$work/$option/libthimble_core.a" \
      "$work/$option/libthimble_quant.a" -lc_nano -lgcc -o "$work/$option/$program.elf"
    table "$map" | sort -k 4 > "$work/table"
    echo "$program -$option: bytes, of these code, constants"
    grep / "$work/table" | sort -rn
    grep -v / "$work/table"
    while read -r name opt what most; do
      [ "$name $opt" = "$program $option" ] || continue
      bytes=$(awk -v what="$what" '
        what == "all" && $4 !~ /\// { n += $1 }
        what == "code" && ($4 == "core" || $4 == "quant") { n += $2 }
        END { print n + 0 }' "$work/table")
      echo "$program -$option $what: $bytes of $most bytes"
      [ "$bytes" -le "$most" ] || failed=1
    done < "$budget"
  done
done
# Another compiler gives other sizes: they are printed, and held to nothing.
version=$($cxx -dumpversion)
if [ "${version%%.*}" != "$(sed -n 's/^# counted with GCC //p' "$budget")" ]; then
  echo "the budgets were not counted with GCC $version"
  exit 77
fi
exit $failed
