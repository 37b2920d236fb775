// SPDX-License-Identifier: Apache-2.0
//
// For the benches: what cannot be done ends the program with one line.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "io/error_text.h"

namespace thimble {

[[noreturn]] inline void Fail(const Error& error) {
  char text[400];
  const std::string_view line = ErrorText(error, text);
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  std::exit(1);
}

inline void Need(const Error& error) {
  if (!error.ok()) Fail(error);
}

}  // namespace thimble
