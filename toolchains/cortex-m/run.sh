#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh MACHINE PROGRAM: runs a firmware on QEMU's model of a board. What it writes is our stdout, what it reads our stdin
# (as descriptor 3: see semihosting.c), its exit code ours. An instruction takes one nanosecond of the board's time, so that
# every run is the same.
exec qemu-system-arm -M "$1" -nodefaults -display none -monitor none -serial none -no-reboot -icount shift=0 \
  -chardev stdio,id=console,signal=off -semihosting-config enable=on,target=native,chardev=console -kernel "$2" 3<&0 < /dev/null
