#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# no_heap.sh WORK COMPILE...: programs that take memory, throw, print, or run before main do not link, not even at -O0, where
# no call of theirs is optimised away; a plain one does. COMPILE is the compiler, then all that a firmware is linked with.
set -u
work=$1
shift
mkdir -p "$work"
failed=0

try() {  # SOURCE COMPILE...
  echo "$1" > "$work/program.cc"
  compiler=$2
  shift 2
  "$compiler" -O0 "$work/program.cc" "$@" -o "$work/program" > "$work/log" 2>&1
}

refuse() {  # REASON SOURCE COMPILE...
  reason=$1 source=$2
  shift 2
  if try "$source" "$@"; then
    echo "this links: $source"
  elif grep -q "$reason" "$work/log"; then
    echo "does not link ($reason): $source"
    return
  else
    echo "fails otherwise than by '$reason': $source"
    cat "$work/log"
  fi
  failed=1
}

try 'int number; int main() { return number; }' "$@" || { echo "a plain program does not link"; cat "$work/log"; exit 1; }
refuse 'undefined reference to .operator new' 'int main() { return *new int; }' "$@"
refuse 'undefined reference to .operator delete' 'struct S { virtual ~S() {} }; int main() { S s; }' "$@"
refuse 'undefined reference to ._sbrk' '#include <cstdlib>
int main() { return std::malloc(4) != nullptr; }' "$@"
refuse 'undefined reference to ._sbrk' '#include <cstdio>
int main() { char text[9]; return std::snprintf(text, 9, "%d", 1); }' "$@"
refuse 'undefined reference to ._exit' '#include <optional>
int main() { return std::optional<int>().value(); }' "$@"
refuse 'undefined reference to .std::__throw' '#include <functional>
int main() { return std::function<int()>()(); }' "$@"
refuse 'a static constructor' 'int Two(); int two = Two(); int Two() { return 2; } int main() { return two; }' "$@"
exit $failed
