// SPDX-License-Identifier: Apache-2.0
//
// One Knuth-Morris-Pratt automaton for each stop string, side by side.
#include "io/stop_matcher.h"

#include <algorithm>

namespace thimble {

Error StopMatcher::Bind(std::span<const std::string_view> stops, Arena& arena) {
  stops_ = stops;
  matched_ = arena.Take<size_t>(stops.size());
  borders_ = arena.Take<size_t*>(stops.size());
  for (size_t s = 0; s < stops.size(); ++s) {
    if (stops[s].empty()) return {Status::kBadArgument, "a stop string is empty", {}, {}, s};
    size_t* const border = arena.Take<size_t>(stops[s].size());
    if (border != nullptr) borders_[s] = border;
  }
  if (const Error error = arena.error(); !error.ok() || arena.measuring()) return error;
  for (size_t s = 0; s < stops.size(); ++s) {
    borders_[s][0] = 0;
    matched_[s] = 0;
    for (size_t i = 1; i < stops[s].size(); ++i) borders_[s][i] = Advance(s, stops[s][i]);
  }
  Reset();
  return {};
}

void StopMatcher::Reset() {
  std::fill_n(matched_, stops_.size(), size_t{0});
  held_ = {};
}

// The text grows by `c`: how much of the stop string it ends with now.
size_t StopMatcher::Advance(size_t stop, char c) {
  size_t& matched = matched_[stop];
  while (matched > 0 && stops_[stop][matched] != c) matched = borders_[stop][matched - 1];
  if (stops_[stop][matched] == c) ++matched;
  return matched;
}

StopMatcher::Output StopMatcher::Push(std::string_view piece) {
  const std::string_view held = held_;
  const auto shown = [&](size_t bytes, bool stopped) -> Output {
    const size_t of_held = std::min(bytes, held.size());
    return {held.substr(0, of_held), piece.substr(0, bytes - of_held), stopped};
  };
  for (size_t i = 0; i < piece.size(); ++i) {
    size_t longest = 0;
    for (size_t s = 0; s < stops_.size(); ++s) {
      if (Advance(s, piece[i]) == stops_[s].size()) longest = std::max(longest, stops_[s].size());
    }
    if (longest > 0) {
      Reset();
      return shown(held.size() + i + 1 - longest, true);
    }
  }
  held_ = {};
  for (size_t s = 0; s < stops_.size(); ++s) {
    if (matched_[s] > held_.size()) held_ = stops_[s].substr(0, matched_[s]);
  }
  return shown(held.size() + piece.size() - held_.size(), false);
}

std::string_view StopMatcher::Finish() {
  const std::string_view held = held_;
  Reset();
  return held;
}

}  // namespace thimble
