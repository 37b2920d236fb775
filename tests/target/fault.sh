#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fault.sh NAME PATTERN PROGRAM...: what faults.cc does under that name ends with exit code 99 and a report like PATTERN.
name=$1 pattern=$2
shift 2
report=$(echo "$name" | "$@")
code=$?
echo "$report"
[ "$code" = 99 ] && echo "$report" | grep -q "^fault: exception .*$pattern"
