#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stream.sh TOKENS PROGRAM...: the firmware `stream` with so many tokens. It ends with 0 when its memory stayed as it was.
tokens=$1
shift
echo "$tokens" | "$@"
