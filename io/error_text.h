// SPDX-License-Identifier: Apache-2.0
//
// Turns an Error into one line of text. The only place that decides how an error reads; it does not print.
#pragma once

#include <span>
#include <string_view>

#include "core/error.h"

namespace thimble {

/// `what (detail): name` with the number where it means something, cut to fit `out`; the text lies in `out`, without a
/// final zero. A detail stands before the first semicolon of `what`. Names come from files: control characters are
/// shown as '?', long ones are cut. A name that begins with "blk.N." is a pattern whose N is `at`. Otherwise `at`,
/// unless 0, is shown as: kBadFile, a byte offset; kSystem, the text of that errno; any other status, a number.
std::string_view ErrorText(const Error& error, std::span<char> out);

}  // namespace thimble
