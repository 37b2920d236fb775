// SPDX-License-Identifier: Apache-2.0
//
// The tree of choices, level by level, and the walk through it, depth first. The session is fed one token at a time,
// also where a stretch is fed again, so that the numbers do not depend on how many checkpoints there are.
#include "core/choices.h"

#include <algorithm>
#include <limits>

#include "core/math.h"

namespace thimble {
namespace {

bool IsFinite(float x) { return x - x == 0.0f; }

// log(sum of e^x); NaN when one of them is NaN or plus infinity.
ExactSum LogSumExp(std::span<const float> x) {
  const float largest = *std::max_element(x.begin(), x.end());
  ExactSum sum;
  for (const float value : x) sum.Add(Exp(value - largest));
  if (!IsFinite(sum.value)) return sum;
  ExactSum log = ExactLog(sum.value);
  log.Add(sum.rest / sum.value);
  log.Add(largest);
  return log;
}

// Makes logarithms of shares logarithms of probabilities.
void Normalise(std::span<float> log_p) {
  const ExactSum total = LogSumExp(log_p);
  for (float& value : log_p) value = (value - total.value) - total.rest;
}

// -1, 0 or 1 as `a` stands before, beside or behind `b` in lexicographic order, the beginning of another before it.
int Compare(std::span<const Token> a, std::span<const Token> b) {
  size_t i = 0;
  while (i < a.size() && i < b.size() && a[i] == b[i]) ++i;
  if (i == a.size() || i == b.size()) return i < a.size() ? 1 : i < b.size() ? -1 : 0;
  return a[i] < b[i] ? -1 : 1;
}

Error BadChoice(const char* what, uint64_t index) { return {Status::kBadArgument, what, index}; }

}  // namespace

Error Choices::Bind(std::span<const std::span<const Token>> choices, Token end, size_t vocab, Arena& arena) {
  const auto is_token = [vocab](Token token) { return token >= 0 && static_cast<size_t>(token) < vocab; };
  if (choices.empty()) return {Status::kBadArgument, "there must be at least one choice"};
  if (end >= 0 && !is_token(end)) return {Status::kBadArgument, "the end token is not in the vocabulary"};
  size_t tokens = 0;
  size_t longest = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].empty()) return BadChoice("a choice has no tokens", i);
    for (const Token token : choices[i]) {
      if (!is_token(token)) return BadChoice("a choice has a token that is not in the vocabulary", i);
    }
    tokens += choices[i].size();
    longest = std::max(longest, choices[i].size());
  }
  if (const Error error = Place(choices.size(), tokens, longest, arena); !error.ok() || arena.measuring()) return error;
  if (const Error error = Sort(choices); !error.ok()) return error;
  if (const Error error = Build(choices, end); !error.ok()) return error;
  CountCheckpoints();
  return {};
}

Error Choices::Place(size_t choices, size_t tokens, size_t longest, Arena& arena) {
  if (tokens > INT32_MAX || longest > UINT16_MAX) return {Status::kTooLarge, "the choices have too many tokens"};
  // Where a choice begins another one, the nodes of its own tokens are the other's, so that one is left for its end.
  const size_t nodes = tokens + 1;
  size_ = choices;
  deepest_ = longest == 0 ? 0 : longest - 1;
  order_ = arena.Take<uint32_t>(size_);
  nodes_ = arena.Take<Node>(nodes + 1);
  tokens_ = arena.Take<Token>(nodes);
  scores_ = arena.Take<ExactSum>(nodes);
  path_ = arena.Take<uint32_t>(longest);
  saved_ = arena.Take<uint32_t>(longest);
  return arena.error();
}

// Lexicographic order: choices with a common prefix stand together, the shortest first, equal ones by their indices. A
// heap sort: std::sort would be a quarter of this file's code.
Error Choices::Sort(std::span<const std::span<const Token>> choices) {
  const auto before = [&](uint32_t a, uint32_t b) {
    const int order = Compare(choices[a], choices[b]);
    return order != 0 ? order < 0 : a < b;
  };
  for (uint32_t i = 0; i < size_; ++i) order_[i] = i;
  for (size_t begin = size_ / 2, end = size_; end > 1;) {
    // First the heap is built, from its last inner node to the first; then its largest moves behind it, again and
    // again.
    if (begin > 0) {
      --begin;
    } else {
      std::swap(order_[0], order_[--end]);
    }
    for (size_t at = begin, child; (child = 2 * at + 1) < end; at = child) {
      if (child + 1 < end && before(order_[child], order_[child + 1])) ++child;
      if (!before(order_[at], order_[child])) break;
      std::swap(order_[at], order_[child]);
    }
  }
  for (size_t i = 1; i < size_; ++i) {
    if (Compare(choices[order_[i - 1]], choices[order_[i]]) == 0)
      return BadChoice("a choice is there twice", order_[i]);
  }
  return {};
}

Error Choices::Build(std::span<const std::span<const Token>> choices, Token end) {
  node_count_ = 0;
  AddNode(0, 0, static_cast<uint32_t>(size_), 0);
  for (uint32_t i = 0; i < node_count_; ++i) {
    Node& node = nodes_[i];
    node.first_child = node_count_;
    const bool whole = node.end - node.begin == 1 && choices[order_[node.begin]].size() <= node.depth;
    if (whole) continue;
    if (const Error error = AddChildren(choices, end, node); !error.ok()) return error;
  }
  nodes_[node_count_].first_child = node_count_;
  return {};
}

void Choices::AddNode(Token token, uint32_t begin, uint32_t end, size_t depth) {
  nodes_[node_count_] = {begin, end, 0, static_cast<uint16_t>(depth), 0};
  tokens_[node_count_] = token;
  ++node_count_;
}

Error Choices::AddChildren(std::span<const std::span<const Token>> choices, Token end, const Node& node) {
  uint32_t begin = node.begin;
  const uint32_t shortest = order_[begin];
  const bool ends_here = choices[shortest].size() == node.depth;
  if (ends_here) {
    if (end < 0) {
      return BadChoice("a choice begins another one, and there is no end token to tell them apart", shortest);
    }
    AddNode(end, begin, begin + 1, node.depth + 1);
    ++begin;
  }
  while (begin < node.end) {
    const Token token = choices[order_[begin]][node.depth];
    if (ends_here && token == end) {
      return BadChoice("a choice with the end token behind it is or begins another one", shortest);
    }
    uint32_t stop = begin + 1;
    while (stop < node.end && choices[order_[stop]][node.depth] == token) ++stop;
    AddNode(token, begin, stop, node.depth + 1);
    begin = stop;
  }
  return {};
}

// The first child of `parent` at or behind `from` that has children itself; 0 when there is none.
uint32_t Choices::NextInner(uint32_t parent, uint32_t from) const {
  const uint32_t stop = nodes_[parent + 1].first_child;
  while (from < stop && IsWhole(from)) ++from;
  return from < stop ? from : 0;
}

// Whether the walk comes back to `node` after it has left it for one of its children.
bool Choices::Branches(uint32_t node) const {
  const uint32_t first = NextInner(node, nodes_[node].first_child);
  return first != 0 && NextInner(node, first + 1) != 0;
}

void Choices::CountCheckpoints() {
  checkpoints_wanted_ = checkpoints_needed();  // the root, which the walk always comes back to
  nodes_[0].checkpoints = static_cast<uint16_t>(checkpoints_wanted_);
  for (uint32_t i = 0; i < node_count_; ++i) {
    for (uint32_t c = nodes_[i].first_child; c < nodes_[i + 1].first_child; ++c) {
      nodes_[c].checkpoints = static_cast<uint16_t>(nodes_[i].checkpoints + (Branches(c) ? 1 : 0));
      checkpoints_wanted_ = std::max<size_t>(checkpoints_wanted_, nodes_[c].checkpoints);
    }
  }
}

Error Choices::Score(Session& session, std::span<float> log_p, size_t first_checkpoint) {
  if (session.length() == 0) return {Status::kBadArgument, "choices need a prompt of at least one token"};
  if (deepest_ > 0 && session.limits().checkpoints <= first_checkpoint) {
    return {Status::kBadArgument,
            "choices of several tokens need a checkpoint: Limits::checkpoints must be at least this",
            first_checkpoint + 1};
  }
  if (deepest_ > session.recall_reach()) {
    return {Status::kBadArgument,
            "the choices are too long for the window's batch: Limits::batch must be at least this", deepest_};
  }
  const size_t first_tokens = nodes_[1].first_child - nodes_[0].first_child;
  session.Scores({tokens_ + 1, first_tokens}, log_p.data());
  for (size_t i = 0; i < first_tokens; ++i) scores_[1 + i] = {log_p[i]};
  if (deepest_ > 0) {
    session.Keep(first_checkpoint);
    const Error error = Walk(session, first_checkpoint);
    session.Recall(first_checkpoint);
    if (!error.ok()) return error;
  }
  float largest = -std::numeric_limits<float>::infinity();
  for (uint32_t i = 1; i < node_count_; ++i) {
    if (!IsWhole(i)) continue;
    if (!IsFinite(scores_[i].value)) return {Status::kBadFile, "the model's logits are not numbers"};
    largest = std::max(largest, scores_[i].value);
  }
  for (uint32_t i = 1; i < node_count_; ++i) {
    if (!IsWhole(i)) continue;
    scores_[i].Add(-largest);
    log_p[order_[nodes_[i].begin]] = scores_[i].value;
  }
  Normalise(log_p.first(size_));
  return {};
}

// Scores the children of every node that has some, but for the root's. The session begins at the root, which is saved.
Error Choices::Walk(Session& session, size_t first_checkpoint) {
  const size_t checkpoints = session.limits().checkpoints - first_checkpoint;
  size_t saved = 1;  // checkpoints in use: saved_[i] is the depth that the i-th holds
  saved_[0] = 0;
  path_[0] = 0;
  size_t at = 0;  // depth of the session
  for (uint32_t node = NextInner(0, nodes_[0].first_child); node != 0;) {
    size_t depth = nodes_[node].depth;
    path_[depth] = node;
    if (at >= depth) {  // on another branch
      while (saved_[saved - 1] >= depth) --saved;
      session.Recall(first_checkpoint + saved - 1);
      at = saved_[saved - 1];
    }
    while (at < depth) {
      if (const Error error = session.Feed({tokens_ + path_[++at], 1}); !error.ok()) return error;
    }
    ScoreChildren(node, session.Logits());
    if (saved < checkpoints && Branches(node)) {
      session.Keep(first_checkpoint + saved);
      saved_[saved++] = static_cast<uint32_t>(depth);
    }
    uint32_t next = NextInner(node, nodes_[node].first_child);
    for (; next == 0 && depth > 0; --depth) next = NextInner(path_[depth - 1], path_[depth] + 1);
    node = next;
  }
  return {};
}

void Choices::ScoreChildren(uint32_t node, std::span<const float> logits) {
  const ExactSum total = LogSumExp(logits);
  ExactSum base = scores_[node];
  base.Add(-total.rest);
  base.Add(-total.value);
  for (uint32_t c = nodes_[node].first_child; c < nodes_[node + 1].first_child; ++c) {
    scores_[c] = base;
    scores_[c].Add(logits[static_cast<size_t>(tokens_[c])]);
  }
}

void Calibrate(std::span<const float> log_p, std::span<const float> log_p_content_free, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = log_p[i] - log_p_content_free[i];
  Normalise(out);
}

void TopK(std::span<const float> p, std::span<uint32_t> best) {
  size_t count = 0;  // of `best` so far, in order
  for (uint32_t i = 0; i < p.size(); ++i) {
    size_t place = count;
    while (place > 0 && p[i] > p[best[place - 1]]) --place;
    if (place == best.size()) continue;
    if (count < best.size()) ++count;
    std::copy_backward(best.begin() + static_cast<std::ptrdiff_t>(place),
                       best.begin() + static_cast<std::ptrdiff_t>(count) - 1,
                       best.begin() + static_cast<std::ptrdiff_t>(count));
    best[place] = i;
  }
}

}  // namespace thimble
