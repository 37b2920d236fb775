// SPDX-License-Identifier: Apache-2.0
//
// The image of a session: what it says of itself, what is proven before it is taken back, and the copying. Where the
// memory lies is session.cc's business.
#include "core/snapshot.h"

#include <cstring>
#include <string_view>

#include "core/session.h"

namespace thimble {
namespace {

constexpr int64_t kLastPosition = int64_t{1} << 62;  // no session gets there

Error Broken() { return {Status::kBadFile, "these bytes are no image of a session, or not a whole one"}; }

}  // namespace

// SplitMix64's finaliser: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
uint64_t Session::NextChain(uint64_t chain, Token token) {
  uint64_t z = chain + 0x9e3779b97f4a7c15u * (uint64_t{static_cast<uint32_t>(token)} + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

SnapshotHeader Session::Describe() const {
  SnapshotHeader header;
  header.k_type = static_cast<uint32_t>(limits_.k);
  header.v_type = static_cast<uint32_t>(limits_.v);
  header.state_form = static_cast<uint32_t>(limits_.state);
  header.window = limits_.window;
  header.sinks = static_cast<uint32_t>(ring_.sinks);
  header.ring_rows = limits_.window == 0 ? 0 : ring_.rows;
  header.state_bytes = state_bytes_;
  for (size_t i = 1; i < piece_count(); ++i) header.token_bytes += Piece(i, 1).size();
  const uint64_t* frequencies = model_->weights.rope_frequencies;
  for (size_t i = 0; i < model_->config.rope.dimension_count / 2; ++i) {
    for (const uint64_t half : {frequencies[i], frequencies[i] >> 32}) {
      header.rope = NextChain(header.rope, static_cast<Token>(static_cast<uint32_t>(half)));
    }
  }
  header.length = state_->length;
  header.chain = state_->chain;
  header.rows = RowsAt(header.length);
  return header;
}

size_t Session::image_bytes() const {
  size_t bytes = sizeof(SnapshotHeader);
  ForEachPiece([&bytes](std::span<const std::byte> piece) { bytes += piece.size(); });
  return bytes;
}

void Session::Save(std::span<std::byte> out) const {
  const SnapshotHeader header = Describe();
  std::memcpy(out.data(), &header, sizeof header);
  std::byte* to = out.data() + sizeof header;
  ForEachPiece([&to](std::span<const std::byte> piece) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  });
}

Error Session::Fits(const SnapshotHeader& image) const {
  const SnapshotHeader own = Describe();
  if (image.magic != SnapshotHeader::kMagic) return Broken();
  if (image.version != SnapshotHeader::kVersion) {
    return {Status::kUnsupported, "the snapshot has a layout that is not known here", "version", {}, image.version};
  }
  const struct {
    std::string_view name;
    uint64_t theirs, ours;
  } shared[] = {{"type of the cache's keys", image.k_type, own.k_type},
                {"type of the cache's values", image.v_type, own.v_type},
                {"form of the states", image.state_form, own.state_form},
                {"window", image.window, own.window},
                {"sinks", image.sinks, own.sinks},
                {"rows of the ring", image.ring_rows, own.ring_rows},
                {"rotary frequencies", image.rope, own.rope},
                {"bytes of the state", image.state_bytes, own.state_bytes},
                {"bytes of a token in the cache", image.token_bytes, own.token_bytes}};
  for (const auto& [name, theirs, ours] : shared) {
    if (theirs == ours) continue;
    return {Status::kBadArgument,
            "the snapshot was made with other limits or of another model; use the same",
            name,
            {},
            theirs};
  }
  if (image.length > most()) {
    return {Status::kFull, "the snapshot has more tokens than the context, which holds this many", most()};
  }
  return {};
}

Error Session::Restore(std::span<const std::byte> image) {
  SnapshotHeader header;
  State state;
  if (image.size() < sizeof header + sizeof state) return Broken();
  std::memcpy(&header, image.data(), sizeof header);
  if (const Error error = Fits(header); !error.ok()) return error;
  // From here on all sizes are this session's own.
  const std::byte* from = image.data() + sizeof header;
  std::memcpy(&state, from, sizeof state);
  if (header.rows != RowsAt(header.length) || state.length != header.length || state.chain != header.chain)
    return Broken();
  if (image.size() != sizeof header + header.state_bytes + header.rows * header.token_bytes) return Broken();
  if (state.next_position < 0 || state.next_position > kLastPosition) return Broken();
  if (state.full_position < 0 || state.full_position > state.next_position) return Broken();
  for (size_t i = 0; i < piece_count(); ++i) {
    const std::span<std::byte> piece = Piece(i, static_cast<size_t>(header.rows));
    std::memcpy(piece.data(), from, piece.size());
    from += piece.size();
  }
  oldest_ = state_->length;
  logits_valid_ = false;
  return {};
}

Error Session::Fork(const Session& from) {
  if (from.model_ != model_) return {Status::kBadArgument, "the two sessions are of different models"};
  if (const Error error = Fits(from.Describe()); !error.ok()) return error;
  if (&from == this) return {};
  for (size_t i = 0; i < piece_count(); ++i) {
    const std::span<const std::byte> piece = from.Piece(i, RowsAt(from.state_->length));
    std::memcpy(Piece(i, 0).data(), piece.data(), piece.size());
  }
  oldest_ = state_->length;
  logits_valid_ = false;
  return {};
}

}  // namespace thimble
