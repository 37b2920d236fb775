#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stack.sh BUDGET DIRECTORY...: how deep the stack can get below the functions that BUDGET lists, from the call graphs that
# the compiler left in the objects' directories (-fcallgraph-info=su). Pointers are called in one direction only: a
# session's functions call kernels and formats, kernels call formats, and these call no pointer; so an indirect call is
# taken for the deepest of those that there are. Boards have neither workers nor marks.
set -eu
budget=$1
shift
graphs=$(find "$@" -name '*.ci' | sort)
[ -n "$graphs" ] || { echo "no call graphs in $*"; exit 1; }
awk '
  function field(name, at) {  # the quoted text behind name:
    at = index($0, name ": \"")
    if (at == 0) return ""
    text = substr($0, at + length(name) + 3)
    return substr(text, 1, index(text, "\"") - 1)
  }
  # 1: a function of a session, or of io; 2: a kernel, 3: a function of a format, which may stand behind a pointer; 0: others
  # of quant, which know formats.
  function level(name, file) {
    if (file ~ /\/quant\//) return name ~ /\{anonymous\}/ && file !~ /\/quantise\.cc/ ? 3 : 0
    if (file ~ /\/arm\// || file ~ /\/core\/(activations|attention|deltanet|kernels|math|matmul|rotate|rope)\.cc/) return 2
    return 1
  }
  function outside(name) {  # of libgcc, libc and libm: none of those that are allowed to be there has a larger frame
    return name ~ /^(mem(cpy|set|move|cmp|chr)|strlen|sqrtf|__aeabi_[a-z0-9]*|__(clz|ctz|popcount)[sd]i2)$/ ||
           name == "_ZSt24__throw_out_of_range_fmtPKcz" ? 128 : -1
  }
  function below(caller,   i, n, called, deep, most, through) {
    if (caller in depth) return depth[caller]
    if (!(caller in bytes) && caller ~ /C1E/) sub(/C1E/, "C2E", caller)  # two names of one constructor
    if (caller in busy) { print "recursion through " name_of[caller]; failed = 1; return 0 }
    if (!(caller in bytes)) {
      if (outside(caller) < 0) { print "no frame known for " caller; failed = 1; return 0 }
      return depth[caller] = outside(caller)
    }
    busy[caller] = 1
    most = 0
    n = split(calls[caller], called, "\n")
    for (i = 1; i <= n; ++i) {
      if (called[i] == "") continue
      if (called[i] == "__indirect_call") {
        if (at_level[caller] == 3) { print "a call of a pointer in " name_of[caller]; failed = 1; continue }
        deep = deepest(at_level[caller] == 1 ? 2 : 3)
        through = deepest_name[at_level[caller] == 1 ? 2 : 3]
      } else {
        deep = below(called[i])
        through = called[i]
      }
      if (deep > most) { most = deep; next_of[caller] = through }
    }
    delete busy[caller]
    return depth[caller] = bytes[caller] + most
  }
  function deepest(at,   name, deep) {
    if (at in deepest_depth) return deepest_depth[at]
    deepest_depth[at] = 0
    for (name in bytes) {
      if (at_level[name] < at) continue
      deep = below(name)
      if (deep > deepest_depth[at]) { deepest_depth[at] = deep; deepest_name[at] = name }
    }
    return deepest_depth[at]
  }
  FNR == 1 { ++files }
  files == 1 {
    if ($0 !~ /^#/ && NF) { allowed[++roots] = $1; root[roots] = substr($0, index($0, $2)) }
    next
  }
  /^node:/ && / bytes \(/ {
    title = field("title")
    label = field("label")
    split(label, line, /\\n/)
    if (line[3] !~ /\((static|dynamic,bounded)\)/) { print "a frame without a bound: " line[1]; failed = 1 }
    bytes[title] = line[3] + 0
    name_of[title] = line[1]
    at_level[title] = level(line[1], line[2])
  }
  /^edge:/ { source = field("sourcename"); calls[source] = calls[source] "\n" field("targetname") }
  END {
    for (i = 1; i <= roots; ++i) {
      found = 0
      for (title in bytes) {
        if (index(name_of[title], root[i]) == 0) continue
        ++found
        deep = below(title)
        printf "%d bytes of %d: %s\n", deep, allowed[i], root[i]
        for (at = title; at in next_of; at = next_of[at]) printf "  %5d %s\n", bytes[at], substr(name_of[at], 1, 100)
        if (at != "") printf "  %5d %s\n", (at in bytes) ? bytes[at] : depth[at], (at in name_of) ? substr(name_of[at], 1, 100) : at
        if (deep > allowed[i]) { print "  beyond its budget"; failed = 1 }
      }
      if (found != 1) { print found " functions are called " root[i]; failed = 1 }
    }
    exit failed
  }' "$budget" $graphs
