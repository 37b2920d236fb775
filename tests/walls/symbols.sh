#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# symbols.sh loaded|flash NM OBJDUMP "ALLOWED..." ARCHIVE...: the promise of no heap, no exceptions, no system and no mutable globals, read off
# the built objects. All that an archive leaves undefined must be defined by one of the others or match a line of the
# files ALLOWED (a shell pattern each); and no object may have bytes that change at run time, initialisers, or exception tables.
set -eu
kind=$1 nm=$2 objdump=$3 allowed=$4
shift 4

for archive in "$@"; do
  [ -s "$archive" ] || { echo "$archive is missing"; exit 1; }
done

failed=0
# nm's letters: U undefined, V v W w weak (v and w undefined), anything else defined.
undefined=$("$nm" "$@" 2> /dev/null | awk '
  NF == 2 && $1 ~ /^[Uvw]$/ { wanted[$2] = 1 }
  NF == 3 { defined[$3] = 1 }
  END { for (name in wanted) if (!(name in defined)) print name }' | sort)
for symbol in $undefined; do
  found=
  while read -r pattern; do
    case $pattern in '' | '#'*) continue ;; esac
    case $symbol in $pattern) found=1 && break ;; esac
  done << PATTERNS
$(cat $allowed)
PATTERNS
  [ -n "$found" ] || { echo "undefined symbol outside the allow-list: $symbol"; failed=1; }
done

# .data.rel.ro is constant once the program is loaded. For a loader, compilers also put nameless constants that hold
# pointers into .data; from flash that would cost memory. COMMON symbols are mutable globals without a section.
"$objdump" -h "$@" | awk -v kind="$kind" '
  /file format/ { object = $1 }
  $1 ~ /^[0-9]+$/ && $3 !~ /^0+$/ && $2 !~ /^\.data\.rel\.ro/ &&
      ($2 ~ /^\.(tdata|tbss|init_array|fini_array|ctors|dtors|gcc_except_table|ARM\.ex)/ ||
       (kind == "flash" && $2 ~ /^\.(data|bss)/)) { print object " has " $2 " of 0x" $3 " bytes"; bad = 1 }
  END { exit bad }' || failed=1
"$objdump" -t "$@" | awk '
  /file format/ { object = $1 }
  { n = split($0, half, "\t") }
  n == 2 {
    sizes = split(half[2], right, " ")
    words = split(half[1], left, " ")
    section = left[words]
    name = right[sizes]
    if ((section ~ /^\.(data|bss)/ && section !~ /^\.data\.rel\.ro/ || section == "*COM*") && name != section && name !~ /^\$/) {
      print object " has a mutable global: " name
      bad = 1
    }
  }
  END { exit bad }' || failed=1
exit $failed
