// SPDX-License-Identifier: Apache-2.0
//
// Turns an Error into one line of text. The only place that decides how an error reads; it does not print.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"

namespace thimble {

/// The text of an errno that all systems share; empty for another.
std::string_view SystemText(uint64_t number);

/// `what (detail): name` with the number where it means something, cut to fit `out`; the text lies in `out`, without a
/// final zero. A detail stands before the first semicolon of `what`. Names come from files: control characters are
/// shown as '?', long ones are cut. A name that begins with "blk.N." is a pattern whose N is `at`. Otherwise `at`,
/// unless 0, is shown as: kBadFile, a byte offset; kSystem, the text of that errno; any other status, a number. A
/// program without an operating system gives null for `system_text`, and does not contain these texts.
std::string_view ErrorText(const Error& error, std::span<char> out,
                           std::string_view (*system_text)(uint64_t) = SystemText);

}  // namespace thimble
