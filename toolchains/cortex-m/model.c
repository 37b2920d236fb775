/* SPDX-License-Identifier: Apache-2.0
 *
 * The model, byte for byte, in a section of its own.
 */
__asm__(
    ".section .model, \"a\"\n"
    ".balign 64\n"
    ".global board_model, board_model_end\n"
    "board_model:\n"
    ".incbin \"" BOARD_MODEL_FILE
    "\"\n"
    "board_model_end:\n"
    ".byte 0\n"
    ".previous\n");
