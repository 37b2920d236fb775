// SPDX-License-Identifier: Apache-2.0
//
// See snapshot.h. Nothing of a session or sampler is touched before everything is proven.
#include "io/snapshot.h"

#include <algorithm>
#include <cstring>

#include "io/pack.h"

namespace thimble {
namespace {

constexpr size_t kSumBytes = sizeof(std::array<uint64_t, 2>);

constexpr uint64_t Filled(uint64_t bytes) {
  return (bytes + SnapshotFront::kAlign - 1) / SnapshotFront::kAlign * SnapshotFront::kAlign;
}

bool LiesIn(const std::byte* data, std::span<const std::byte> part) {
  return data >= part.data() && data < part.data() + part.size();
}

/// The bytes before the first tensor's.
std::span<const std::byte> HeaderOf(const Gguf& file, std::span<const std::byte> part) {
  size_t bytes = part.size();
  for (const GgufTensor& tensor : file.tensors()) {
    if (LiesIn(tensor.data, part)) bytes = std::min(bytes, static_cast<size_t>(tensor.data - part.data()));
  }
  return part.first(bytes);
}

/// Its beginning, middle and end.
void AddSamples(std::span<const std::byte> data, Hash& hash) {
  const size_t n = std::min<size_t>(data.size(), 64);
  for (const size_t at : {size_t{0}, (data.size() - n) / 2, data.size() - n}) hash.Add(data.subspan(at, n));
}

std::span<const std::byte> SessionImage(std::span<const std::byte> bytes, const SnapshotInfo& info) {
  const SnapshotHeader& h = info.session;
  return bytes.subspan(sizeof(SnapshotFront), static_cast<size_t>(sizeof h + h.state_bytes + h.rows * h.token_bytes));
}

std::span<const std::byte> SamplerImage(std::span<const std::byte> bytes, const SnapshotInfo& info) {
  const auto n = static_cast<size_t>(info.sampler_bytes);
  return bytes.subspan(bytes.size() - kSumBytes - static_cast<size_t>(Filled(n)), n);
}

/// The parts that `front` tells of fill the snapshot, and the session's image is as long as its header says.
bool AddsUp(const SnapshotFront& front, const SnapshotHeader& h) {
  const uint64_t room = front.bytes - sizeof front - kSumBytes;
  if (front.session_bytes > room || front.sampler_bytes > room) return false;
  if (Filled(front.session_bytes) + Filled(front.sampler_bytes) != room) return false;
  if (front.session_bytes < sizeof h || h.state_bytes > front.session_bytes - sizeof h) return false;
  const uint64_t cache = front.session_bytes - sizeof h - h.state_bytes;
  return h.token_bytes == 0 || h.rows == 0 ? cache == 0 : cache % h.token_bytes == 0 && cache / h.token_bytes == h.rows;
}

}  // namespace

uint64_t ModelFingerprint(const Gguf& file, std::span<const std::span<const std::byte>> parts) {
  Hash hash;
  for (const std::span<const std::byte> part : parts) {
    const uint64_t size = part.size();
    hash.Add(std::as_bytes(std::span(&size, 1)));
    hash.Add(HeaderOf(file, part));
  }
  if (IsPack(file)) return hash.low64();
  for (const GgufTensor& tensor : file.tensors()) AddSamples({tensor.data, static_cast<size_t>(tensor.bytes)}, hash);
  return hash.low64();
}

SnapshotFront FrontOf(const Conversed& of) {
  SnapshotFront front;
  front.model = of.model;
  front.session_bytes = of.session->image_bytes();
  front.sampler_bytes = of.sampler != nullptr ? of.sampler->image().size() : 0;
  front.bytes = sizeof front + Filled(front.session_bytes) + Filled(front.sampler_bytes) + kSumBytes;
  return front;
}

Error WriteSnapshot(const Conversed& of, std::span<std::byte> out) {
  const size_t bytes = SnapshotBytes(of);
  if (out.size() < bytes) {
    return {Status::kTooSmall, "the room for the snapshot is too small; it needs this many bytes", {}, {}, bytes};
  }
  std::byte* to = out.data();
  ForEachPiece(of, [&to](std::span<const std::byte> piece) { to = std::copy(piece.begin(), piece.end(), to); });
  return {};
}

Result<SnapshotInfo> ExamineSnapshot(std::span<const std::byte> bytes) {
  const auto bad = [](const char* what, uint64_t at = 0) { return Error{Status::kBadFile, what, {}, {}, at}; };
  SnapshotFront front;
  SnapshotInfo info = {};
  if (bytes.size() < sizeof front + sizeof info.session + kSumBytes) {
    return bad("this is no snapshot, or only the beginning of one; it ends", bytes.size());
  }
  std::memcpy(&front, bytes.data(), sizeof front);
  std::memcpy(&info.session, bytes.data() + sizeof front, sizeof info.session);
  if (front.magic != SnapshotFront::kMagic) return bad("this is no snapshot");
  if (front.version != SnapshotFront::kVersion || info.session.version != SnapshotHeader::kVersion) {
    return Error{Status::kUnsupported, "the snapshot was made by another version of thimble, or was changed"};
  }
  if (front.bytes != bytes.size()) return bad("the snapshot was cut off, or has grown; it should end", front.bytes);
  std::array<uint64_t, 2> sum;
  std::memcpy(&sum, bytes.data() + bytes.size() - kSumBytes, kSumBytes);
  Hash hash;
  hash.Add(bytes.first(bytes.size() - kSumBytes));
  if (hash.digest() != sum) return bad("the snapshot was changed since it was written, or its writing was cut off");
  if (!AddsUp(front, info.session)) return bad("the parts of the snapshot do not add up");
  info.model = front.model;
  info.bytes = front.bytes;
  info.sampler_bytes = front.sampler_bytes;
  return info;
}

Error ReadSnapshot(std::span<const std::byte> bytes, const Conversed& into) {
  const Result<SnapshotInfo> info = ExamineSnapshot(bytes);
  if (!info) return info.error();
  if (info->model != into.model) return {Status::kBadArgument, "the snapshot is of another model"};
  const bool samples = into.sampler != nullptr && info->sampler_bytes > 0;
  const std::span<const std::byte> sampler = SamplerImage(bytes, *info);
  if (samples) {
    if (const Error error = into.sampler->Fits(sampler); !error.ok()) return error;
  }
  if (const Error error = into.session->Restore(SessionImage(bytes, *info)); !error.ok()) return error;
  return samples ? into.sampler->Restore(sampler) : Error{};
}

}  // namespace thimble
