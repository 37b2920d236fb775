#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# includes.sh ROOT: which headers each room may include. The rooms below a room are listed by name; standard headers by what
# the room may use: quant, core and io have no heap, no streams, no threads, and only io/*_posix.cc may see the system.
set -eu
cd "$1"

for file in quant/*.h quant/*.cc core/*.h core/*.cc arm/*.h arm/*.cc io/*.h io/*.cc; do
  [ -e "$file" ] && grep -Hn '^[[:space:]]*#[[:space:]]*include' "$file"
done | awk -F: '
  BEGIN {
    rooms["quant"] = "quant"
    rooms["core"] = "quant core"
    rooms["arm"] = "quant core arm"
    rooms["io"] = "quant core io"
    plain = "algorithm array bit climits cmath concepts cstddef cstdint cstring initializer_list iterator limits numbers " \
            "numeric optional span string_view tuple type_traits utility version"
    fast = "arm_neon.h arm_acle.h arm_mve.h immintrin.h cpuinfo.h atomic new ctime pthread.h sched.h"
    c_headers = "stddef.h stdint.h"
    system_headers = "cstdio errno.h fcntl.h unistd.h sys/mman.h sys/stat.h sys/types.h"
  }
  function listed(word, list) { return index(" " list " ", " " word " ") > 0 }
  {
    split($1, path, "/")
    room = path[1]
    line = $0
    sub(/^[^:]*:[^:]*:[ \t]*#[ \t]*include[ \t]*/, "", line)
    name = line
    sub(/^[<"]/, "", name)
    sub(/[>"].*$/, "", name)
    ok = 0
    if (line ~ /^"/) {
      split(name, part, "/")
      ok = name ~ /\// && listed(part[1], rooms[room])
    } else {
      ok = listed(name, plain) || (room == "arm" && listed(name, fast)) || (room == "io" && listed(name, "cerrno xxhash.h")) ||
           (room == "io" && path[2] == "thimble.h" && listed(name, c_headers)) ||
           (room == "io" && path[2] == "c_api.cc" && name == "new") ||
           (room == "io" && path[2] ~ /_posix\.cc$/ && listed(name, system_headers))
    }
    if (!ok) { print $1 ":" $2 ": " room " may not include " line; bad = 1 }
    ++count
  }
  END {
    if (count == 0) { print "no include found in any room"; bad = 1 }
    exit bad
  }'
