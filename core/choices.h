// SPDX-License-Identifier: Apache-2.0
//
// The probability of each of a closed set of answers, exactly. It owns the tree of the answers' tokens and walks a
// session through it; it knows no text, and it leaves the session as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "core/math.h"
#include "core/session.h"

namespace thimble {

/// A choice c is a sequence of tokens c_1 ... c_n. With p(t | ...) the model's softmax over its whole vocabulary:
///
///   score(c) = sum over i of log p(c_i | prompt, c_1 ... c_{i-1})
///   p(c)     = exp(score(c)) / sum over all choices d of exp(score(d))
///
/// Where one choice begins another, an end token is appended to the shorter one (and only there), so that no two of
/// them can both come true. Choices share their prefixes in a tree. The normaliser of the first token is the same for
/// all and cancels: only the rows of the first tokens are computed there, and the whole head only where a choice goes
/// on.
class Choices {
 public:
  /// Builds the tree; `choices` need not outlive the call. `end` is below 0 when there is no end token. On a measuring
  /// arena it counts bytes and checks what needs no memory. kBadArgument, `at` the index of the choice: it has no
  /// tokens, a token outside [0, vocab), is there twice, or begins another one and the end token cannot tell them
  /// apart.
  Error Bind(std::span<const std::span<const Token>> choices, Token end, size_t vocab, Arena& arena);

  /// Takes the memory that Bind takes, for so many choices with so many tokens in all and in the longest, and no more:
  /// for who wants to count before there are any.
  Error Place(size_t choices, size_t tokens, size_t longest, Arena& arena);

  size_t size() const { return size_; }

  /// Session checkpoints without which Score cannot work: 0 or 1, the latter when a choice has more than one token.
  /// Known after measuring, too. Then the number that spares all feeding of tokens a second time; more are not used.
  size_t checkpoints_needed() const { return deepest_ > 0 ? 1 : 0; }
  size_t checkpoints_wanted() const { return checkpoints_wanted_; }

  /// log_p[i] = natural logarithm of p(choice i | what `session` was fed); [size()]. The same bits for any number of
  /// checkpoints. Uses the session's checkpoints from `first_checkpoint` on. kBadArgument when nothing was fed or there
  /// are too few checkpoints, or the session has a window and the longest choice without its last token is longer than
  /// Session::recall_reach; kFull when the longest choice without its last token does not fit in the context;
  /// kBadFile when the model's logits are not numbers. Also after an error the session is as it was; log_p is then
  /// undefined.
  Error Score(Session& session, std::span<float> log_p, size_t first_checkpoint = 0);

 private:
  // A prefix of one or more choices, those in [begin, end) of the sorted order. Nodes lie level by level, so that
  // children lie side by side, up to the first child of the next node; a node without children is a whole choice.
  struct Node {
    uint32_t begin, end;
    uint32_t first_child;
    uint16_t depth;        // tokens on the way to it
    uint16_t checkpoints;  // worth holding while the session is here
  };

  Error Sort(std::span<const std::span<const Token>> choices);
  Error Build(std::span<const std::span<const Token>> choices, Token end);
  Error AddChildren(std::span<const std::span<const Token>> choices, Token end, const Node& node);
  void AddNode(Token token, uint32_t begin, uint32_t end, size_t depth);
  bool IsWhole(uint32_t node) const { return nodes_[node].first_child == nodes_[node + 1].first_child; }
  uint32_t NextInner(uint32_t parent, uint32_t from) const;
  bool Branches(uint32_t node) const;
  void CountCheckpoints();
  Error Walk(Session& session, size_t first_checkpoint);
  void ScoreChildren(uint32_t node, std::span<const float> logits);

  size_t size_ = 0;
  size_t deepest_ = 0;  // depth of the deepest node with children: the most tokens that are fed at a time
  size_t checkpoints_wanted_ = 0;
  uint32_t node_count_ = 0;
  uint32_t* order_ = nullptr;   // [size], indices of the choices in the order of their tokens
  Node* nodes_ = nullptr;       // [tokens of all choices + 2]; the root is the first, behind the last is where they end
  Token* tokens_ = nullptr;     // [tokens of all choices + 1], the last token of each node's prefix
  ExactSum* scores_ = nullptr;  // the same number: score of each node's prefix, without the first token's normaliser
  uint32_t* path_ = nullptr;    // [deepest + 1], the nodes from the root to the one that is being scored
  uint32_t* saved_ = nullptr;   // [deepest + 1], the depths that the checkpoints in use hold
};

/// out[i] = log of p(i) / p_content_free(i), normalised over the set: what the answers' own frequency does to a choice
/// is taken out by a prompt that asks about nothing ("N/A"). Zhao et al. 2021, "Calibrate Before Use", with W =
/// diag(p_cf)^-1. All three are natural logarithms, of equal size; `out` may be `log_p`.
void Calibrate(std::span<const float> log_p, std::span<const float> log_p_content_free, std::span<float> out);

/// best[0 ... best.size()) = the indices of the largest values of p (or of its logarithms), the largest first, of
/// equals the lowest index first. best.size() <= p.size().
void TopK(std::span<const float> p, std::span<uint32_t> best);

}  // namespace thimble
