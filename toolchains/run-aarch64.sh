#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs an arm64 program under QEMU as the core that THIMBLE_QEMU_CPU names; an instruction that this core lacks is fatal.
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "${THIMBLE_QEMU_CPU:-cortex-a72}" "$@"
