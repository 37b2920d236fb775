// SPDX-License-Identifier: Apache-2.0
//
// Finds stop strings in streamed text, also across the borders of its pieces. It holds back what may still become a
// stop string, without copying it: held back text is the beginning of a stop string, and is given out from there.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/error.h"

namespace thimble {

class StopMatcher {
 public:
  /// Text that may be shown now: `held`, then `piece`. `held` was kept back before; `piece` is the beginning of what
  /// was pushed. When `stopped`, a stop string follows, which is not shown and ends the text.
  struct Output {
    std::string_view held;
    std::string_view piece;
    bool stopped = false;
  };

  /// Takes the tables; on a measuring arena it counts bytes. `stops` and its strings must outlive the matcher; there
  /// may be none. kBadArgument, `at` its index, for an empty string.
  Error Bind(std::span<const std::string_view> stops, Arena& arena);

  /// For a new text.
  void Reset();

  /// Takes the next piece of the text. The stop string that is complete first wins, and of those that end together the
  /// longest, however the text was cut into pieces. Whole UTF-8 characters in give whole characters out. Behind a stop
  /// string a new text begins.
  Output Push(std::string_view piece);

  /// The end of the text: what is still held back and now will never be a stop string.
  std::string_view Finish();

 private:
  size_t Advance(size_t stop, char c);

  std::span<const std::string_view> stops_;
  size_t** borders_ =
      nullptr;  // [stops][length]: of stop[0 .. i], the longest beginning that is also its end, not itself
  size_t* matched_ = nullptr;  // [stops]: how much of each the text ends with
  std::string_view held_;
};

}  // namespace thimble
