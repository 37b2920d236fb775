// SPDX-License-Identifier: Apache-2.0
//
// Stop strings against a search in the whole text, for every way of cutting the text into pieces.
#include "io/stop_matcher.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/load_model.h"

namespace thimble {
namespace {

class BoundMatcher {
 public:
  explicit BoundMatcher(std::vector<std::string> stops)
      : strings_(std::move(stops)), views_(strings_.begin(), strings_.end()) {
    Arena measure;
    RequireOk(matcher_.Bind(views_, measure));
    memory_.emplace(measure.used());
    Arena arena(memory_->span());
    RequireOk(matcher_.Bind(views_, arena));
    CHECK(arena.used() == measure.used());
  }
  StopMatcher* operator->() { return &matcher_; }

  // All that is shown of a text in pieces, and whether it was stopped.
  std::pair<std::string, bool> Run(const std::vector<std::string>& pieces) {
    matcher_.Reset();
    std::string shown;
    for (const std::string& piece : pieces) {
      const StopMatcher::Output output = matcher_.Push(piece);
      shown.append(output.held).append(output.piece);
      if (output.stopped) return {shown, true};
    }
    shown.append(matcher_.Finish());
    return {shown, false};
  }

 private:
  std::vector<std::string> strings_;
  std::vector<std::string_view> views_;
  std::optional<HeapBlock> memory_;
  StopMatcher matcher_;
};

// The text before the first stop string to be complete, the longest of those that end there.
std::pair<std::string, bool> Search(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

TEST_CASE("every cut of a text gives what a search in the whole gives") {
  std::mt19937 random(1);
  const auto word = [&](size_t shortest, size_t longest) {
    std::string s(shortest + random() % (longest - shortest + 1), 'a');
    for (char& c : s) c = static_cast<char>('a' + random() % 2);
    return s;
  };
  size_t stopped = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = word(3, 8);
    BoundMatcher matcher(stops);
    const std::string text = word(0, 24);
    const auto expected = Search(stops, text);
    stopped += expected.second ? 1 : 0;
    for (int cut = 0; cut < 8; ++cut) {
      std::vector<std::string> pieces;
      for (size_t at = 0; at < text.size();) {
        const size_t size = cut == 0 ? text.size() : cut == 1 ? 1 : random() % 6;
        pieces.push_back(text.substr(at, size));
        at += pieces.back().size();
      }
      CAPTURE(text);
      CHECK(matcher.Run(pieces) == expected);
    }
  }
  CHECK(stopped > 100);
  CHECK(stopped < 350);
}

TEST_CASE("no more is held back than may become a stop string") {
  BoundMatcher matcher({"</answer>", "<stop>"});
  StopMatcher::Output output = matcher->Push("so <");
  CHECK(output.piece == "so ");
  output = matcher->Push("/an");
  CHECK(output.held.empty());
  CHECK(output.piece.empty());
  output = matcher->Push("x <s");  // "</an" was none; the next one begins
  CHECK(output.held == "</an");
  CHECK(output.piece == "x ");
  output = matcher->Push("<stop> and more");
  CHECK(output.held == "<s");
  CHECK(output.piece.empty());
  CHECK(output.stopped);
  CHECK(matcher->Push("new <").piece == "new ");
  CHECK(matcher->Finish() == "<");
  CHECK(matcher->Finish().empty());
}

TEST_CASE("of the stop strings that end together the longest wins") {
  for (const std::vector<std::string>& stops : {std::vector<std::string>{"bc", "abc", "c"}, {"c", "bc", "abc"}}) {
    CHECK(BoundMatcher(stops).Run({"xxa", "bcd"}) == std::pair<std::string, bool>("xx", true));
  }
}

TEST_CASE("nothing of a stopped text is left for the next one") {
  BoundMatcher matcher({"ab", "bc"});
  CHECK(matcher->Push("ab").stopped);
  const StopMatcher::Output output = matcher->Push("c");
  CHECK(output.piece == "c");
  CHECK_FALSE(output.stopped);
}

TEST_CASE("held text that is given up in part") {
  BoundMatcher matcher({"aab"});
  CHECK(matcher->Push("aa").piece.empty());
  const StopMatcher::Output output = matcher->Push("a");  // "aaa" ends with "aa"
  CHECK(output.held == "a");
  CHECK(output.piece.empty());
  CHECK(matcher->Push("b").stopped);
}

TEST_CASE("whole characters stay whole") {
  BoundMatcher matcher({"\xc3\xa9t\xc3\xa9"});                             // e acute, t, e acute
  const StopMatcher::Output output = matcher->Push("t\xc3\xa9t\xc3\xa8");  // the last one is another letter
  CHECK(output.piece == "t\xc3\xa9t\xc3\xa8");
  CHECK(matcher->Push("\xc3\xa9").piece.empty());
  CHECK(matcher->Push("a").held == "\xc3\xa9");
}

TEST_CASE("an empty stop string and a small arena are refused") {
  const std::vector<std::string_view> bad = {"a", ""};
  Arena measure;
  StopMatcher matcher;
  const Error error = matcher.Bind(bad, measure);
  CHECK(error.status == Status::kBadArgument);
  CHECK(error.at == 1);

  const std::vector<std::string_view> stops = {"abc", "a longer one"};
  Arena counting;
  RequireOk(matcher.Bind(stops, counting));
  const HeapBlock block(counting.used());
  for (size_t size = 0; size < counting.used(); ++size) {
    Arena arena(block.span().first(size));
    const Error small = matcher.Bind(stops, arena);
    CHECK(small.status == Status::kTooSmall);
    CHECK(small.at == counting.used());
  }
}

}  // namespace
}  // namespace thimble
