// SPDX-License-Identifier: Apache-2.0
//
// See pack_writer.h. One function lays out header and data (WriteHeader); it counts before there is memory, and writes
// when the checksums are known, so that size and content cannot disagree.
#include "io/pack_writer.h"

#include <cstring>
#include <iterator>

#include "io/gguf_writer.h"
#include "quant/qb4.h"
#include "quant/quantise.h"

namespace thimble {
namespace {

constexpr size_t kAlignment = 64;          // of the data of every tensor
constexpr size_t kGroupRows = Qb4::kRows;  // rows that one task converts: a tile of a packed format
constexpr size_t kPieceBytes = 4 << 20;    // about what Next gives at a time
constexpr uint64_t kMaxHeader = uint64_t{128} << 20;
constexpr std::byte kZeros[kAlignment] = {};

uint64_t Padding(uint64_t bytes) { return (kAlignment - bytes % kAlignment) % kAlignment; }

/// What a matrix does, as far as recipes tell matrices apart.
enum class Role : uint8_t { kNone, kMixer, kGate, kFeedForward, kOther };

struct RoleOf {
  std::string_view name;  // behind "blk.N."
  Role role;
};

constexpr RoleOf kRoles[] = {
    {"token_embd.weight", Role::kOther},    {"output.weight", Role::kOther},
    {"nextn.eh_proj.weight", Role::kOther}, {"ffn_gate.weight", Role::kFeedForward},
    {"ffn_up.weight", Role::kFeedForward},  {"ffn_down.weight", Role::kFeedForward},
    {"attn_q.weight", Role::kMixer},        {"attn_k.weight", Role::kMixer},
    {"attn_v.weight", Role::kMixer},        {"attn_output.weight", Role::kMixer},
    {"attn_qkv.weight", Role::kMixer},      {"attn_gate.weight", Role::kMixer},
    {"ssm_out.weight", Role::kMixer},       {"ssm_alpha.weight", Role::kGate},
    {"ssm_beta.weight", Role::kGate},
};

Role FindRole(std::string_view name) {
  constexpr std::string_view kBlock = "blk.";
  if (name.starts_with(kBlock)) {
    const size_t dot = name.find('.', kBlock.size());
    if (dot == std::string_view::npos) return Role::kNone;
    name.remove_prefix(dot + 1);
  }
  for (const RoleOf& entry : kRoles) {
    if (entry.name == name) return entry.role;
  }
  return Role::kNone;
}

bool IsQuantised(Type type) { return type != Type::kF32 && type != Type::kF16 && type != Type::kBF16; }

constexpr std::string_view kIndexPadding = "thimble.tokenizer.padding";  // in front of TokenIndex::kKey

/// Keys that the pack does not take over: those of the file's own layout, and those that it writes itself.
bool IsOfLayout(std::string_view key) {
  return key == "general.alignment" || key.starts_with("split.") || key == kIndexPadding || key == TokenIndex::kKey;
}

/// An entry of the metadata as it stands in the file: the length of its key, key, type, value.
std::span<const std::byte> EntryBytes(const GgufValue& value) {
  const auto behind = [](std::string_view text) {
    return reinterpret_cast<const std::byte*>(text.data() + text.size());
  };
  const std::byte* begin = reinterpret_cast<const std::byte*>(value.key.data()) - sizeof(uint64_t);
  const std::byte* end = value.data;
  if (const auto strings = value.AsStrings()) {
    for (const std::string_view text : *strings) end = behind(text);
  } else if (const auto text = value.AsString()) {
    end = behind(*text);
  } else {
    end += static_cast<size_t>(value.count) * GgufTypeBytes(value.element);
  }
  return {begin, static_cast<size_t>(end - begin)};
}

uint64_t RowsOf(const GgufTensor& tensor) { return tensor.ne[1] * tensor.ne[2] * tensor.ne[3]; }

uint64_t BytesAs(const Format& format, const GgufTensor& tensor) {
  return MatrixBytes(format, RowsOf(tensor), tensor.ne[0] / format.block_size);
}

}  // namespace

const Format* PackFormatOf(const PackOrder& order, const GgufTensor& tensor) {
  const Format* own = FindFormat(tensor.type);
  const Role role = FindRole(tensor.name);
  if (own == nullptr || own->packed() || order.recipe == PackRecipe::kExact || role == Role::kNone ||
      tensor.dimensions != 2 || tensor.ne[0] % kQuantiseBlock != 0) {
    return own;
  }
  const bool quantised = IsQuantised(own->type);
  if (quantised && order.keep_exact) return own;
  Type type = Type::kQB4;
  if (role == Role::kGate || (role == Role::kMixer && order.recipe == PackRecipe::kQ4s)) type = Type::kQ8_0;
  if (role == Role::kFeedForward && order.recipe == PackRecipe::kQ3) type = Type::kQB3;
  if (type == Type::kQ8_0 && quantised) {
    if (own->type != Type::kQ4_0) return own;
    type = Type::kQB4;
  }
  const Format& wanted = FormatOf(type);
  const uint64_t own_bits = uint64_t{own->block_bytes} * wanted.block_size * wanted.tile_rows;
  const uint64_t wanted_bits = uint64_t{wanted.block_bytes} * own->block_size;
  return own_bits < wanted_bits ? own : &wanted;
}

Error PackWriter::CheckImatrix() const {
  for (const GgufTensor& tensor : order_->source->tensors()) {
    const ImatrixEntry* entry = order_->imatrix->Find(tensor.name);
    if (entry == nullptr || entry->cols == tensor.ne[0]) continue;
    return {Status::kBadArgument, "the importance matrix was made for another model; this tensor has another length",
            tensor.name};
  }
  return {};
}

Error PackWriter::Bind(const PackOrder& order, size_t workers, Arena& arena) {
  *this = PackWriter();
  order_ = &order;
  workers_ = workers;
  if (IsPack(*order.source)) {
    return {Status::kBadArgument, "this is a pack already; give the GGUF that it was made from", pack_keys::kVersion};
  }
  if (order.imatrix != nullptr) {
    if (const Error error = CheckImatrix(); !error.ok()) return error;
  }
  for (const std::span<const std::byte> part : order.parts) source_bytes_ += part.size();
  for (const GgufTensor& tensor : order.source->tensors()) {
    const Format* format = PackFormatOf(order, tensor);
    if (format == nullptr) {
      return {Status::kUnsupported, "a tensor of this type cannot be packed", tensor.name, TypeName(tensor.type)};
    }
    const uint64_t bytes = BytesAs(*format, tensor);
    data_bytes_ += bytes + Padding(bytes);
    if (format->type == static_cast<Type>(tensor.type)) continue;
    max_cols_ = tensor.ne[0] > max_cols_ ? static_cast<size_t>(tensor.ne[0]) : max_cols_;
    const auto group = static_cast<size_t>(MatrixBytes(*format, kGroupRows, tensor.ne[0] / format->block_size));
    piece_bytes_ = group > piece_bytes_ ? group : piece_bytes_;
  }
  if (piece_bytes_ < kPieceBytes) piece_bytes_ = kPieceBytes;

  if (const Error error = TakeIndex(arena); !error.ok()) return error;
  if (const size_t values = ValueCount(); values > GgufValues::kMax) {
    return {Status::kUnsupported, "the model has more metadata keys than a pack can hold", {}, {}, values};
  }
  header_bytes_ = WriteHeader({});
  if (header_bytes_ > kMaxHeader) {
    return {Status::kUnsupported, "the model has more bytes of metadata than a pack can hold", {}, {}, header_bytes_};
  }

  const auto tensors = static_cast<size_t>(order.source->tensor_count());
  tensor_hashes_ = arena.Take<uint64_t>(tensors);
  header_ = arena.Take<std::byte>(static_cast<size_t>(header_bytes_));
  piece_ = arena.Take<std::byte>(piece_bytes_);
  x_ = arena.Take<float>(max_cols_, workers);
  importance_ = arena.Take<float>(max_cols_);
  codes_ = arena.Take<int8_t>(max_cols_, kGroupRows, workers);
  scales_ = arena.Take<uint16_t>(max_cols_ / kQuantiseBlock, kGroupRows, workers);
  failed_ = arena.Take<bool>(workers);
  if (const Error error = arena.error(); !error.ok()) return error;
  if (!arena.measuring() && !token_index_.words().empty()) {
    if (const Error error = token_index_.Build(); !error.ok()) return error;
  }
  at_ = order.source->tensors().begin();
  return {};
}

/// Of the index of the tokens, if the source has a tokenizer that is known here.
Error PackWriter::TakeIndex(Arena& arena) {
  const Result<Vocabulary> vocabulary = Vocabulary::Read(*order_->source);
  const Error error = vocabulary ? token_index_.Take(*order_->source, *vocabulary, arena) : vocabulary.error();
  return error.status == Status::kNotFound || error.status == Status::kUnsupported ? Error{} : error;
}

/// Entries of the pack's metadata: the source's, the alignment, the index, the stamp.
size_t PackWriter::ValueCount() const {
  size_t values = 1 + (token_index_.words().empty() ? 0 : 2) + pack_keys::kCount;
  for (const GgufValue& value : order_->source->values()) values += IsOfLayout(value.key) ? 0 : 1;
  return values;
}

uint64_t PackWriter::WriteHeader(std::span<std::byte> out) {
  const Gguf& source = *order_->source;
  GgufHeaderWriter writer(out);
  writer.Begin(source.tensor_count(), ValueCount());
  for (const GgufValue& value : source.values()) {
    if (!IsOfLayout(value.key)) writer.Copy(EntryBytes(value));
  }
  const auto source_hash = source_hash_.hex();
  Hash imatrix_hash;
  imatrix_hash.Add(order_->imatrix_bytes);
  const auto imatrix_hex = imatrix_hash.hex();
  const size_t imatrix_digits = order_->imatrix == nullptr ? 0 : imatrix_hex.size();
  writer.U32("general.alignment", kAlignment);
  if (const std::span<const uint32_t> words = token_index_.words(); !words.empty()) {
    writer.AlignNextArray(kIndexPadding, TokenIndex::kKey);
    writer.U32Array(TokenIndex::kKey, words.data(), words.size());
  }
  writer.U32(pack_keys::kVersion, PackStamp::kVersion);
  writer.String(pack_keys::kLayout, kPackLayout);
  writer.String(pack_keys::kRecipe, kPackRecipes[static_cast<size_t>(order_->recipe)]);
  writer.Bool(pack_keys::kKeepExact, order_->keep_exact);
  writer.U64(pack_keys::kSourceBytes, source_bytes_);
  writer.String(pack_keys::kSourceHash, {source_hash.data(), source_hash.size()});
  writer.String(pack_keys::kImatrixHash, {imatrix_hex.data(), imatrix_digits});
  writer.U64Array(pack_keys::kTensorHashes, tensor_hashes_, static_cast<size_t>(source.tensor_count()));
  writer.U64(pack_keys::kHeaderHash, 0);
  hash_at_ = writer.size() - sizeof(uint64_t);

  uint64_t offset = 0;
  for (const GgufTensor& tensor : source.tensors()) {
    const Format& format = *PackFormatOf(*order_, tensor);
    writer.Tensor(tensor.name, {tensor.ne.data(), tensor.dimensions}, static_cast<uint32_t>(format.type), offset);
    const uint64_t bytes = BytesAs(format, tensor);
    offset += bytes + Padding(bytes);
  }
  writer.Pad(kAlignment);
  return writer.size();
}

std::span<const std::byte> PackWriter::Header() {
  const std::span<std::byte> header(header_, static_cast<size_t>(header_bytes_));
  WriteHeader(header);
  const uint64_t hash = PackHeaderHash(header, hash_at_);
  std::memcpy(header_ + hash_at_, &hash, sizeof hash);
  return header;
}

/// Hashes the source from where that stands up to `until`, which lies in this part or a later one.
void PackWriter::HashSource(const std::byte* until) {
  for (; source_part_ < order_->parts.size(); ++source_part_, source_at_ = 0) {
    const std::span<const std::byte> part = order_->parts[source_part_];
    const bool here = until > part.data() && until <= part.data() + part.size();
    const size_t end = here ? static_cast<size_t>(until - part.data()) : part.size();
    if (here && end <= source_at_) return;
    source_hash_.Add(part.subspan(source_at_, end - source_at_));
    source_at_ = end;
    if (here) return;
  }
}

/// Makes the next tensor, if there is one, the current one.
bool PackWriter::StartTensor() {
  const Gguf& source = *order_->source;
  if (!(*at_ != source.tensors().end())) return false;
  tensor_ = **at_;
  from_ = FindFormat(tensor_.type);
  to_ = PackFormatOf(*order_, tensor_);
  tensor_hash_ = Hash();
  group_ = copied_ = 0;
  groups_ = (RowsOf(tensor_) + kGroupRows - 1) / kGroupRows;
  weighed_ = false;
  const ImatrixEntry* entry = order_->imatrix == nullptr ? nullptr : order_->imatrix->Find(tensor_.name);
  if (entry != nullptr && to_ != from_) {
    std::memcpy(importance_, entry->sums, static_cast<size_t>(tensor_.ne[0]) * sizeof *importance_);
    weighed_ = true;
  }
  return true;
}

Result<PackWriter::Piece> PackWriter::Next(const Workers& workers) {
  if (padding_ > 0) {
    const Piece piece = {{kZeros, static_cast<size_t>(padding_)}, {}};
    padding_ = 0;
    return piece;
  }
  if (to_ == nullptr && !StartTensor()) {
    HashSource(nullptr);  // what stands behind the last tensor
    return Piece{};
  }
  Result<Piece> piece = to_ == from_ ? Result<Piece>(CopyRows()) : ConvertRows(workers);
  if (!piece) return piece;
  tensor_hash_.Add(piece->bytes);
  HashSource(piece->source.data() + piece->source.size());
  const bool done = to_ == from_ ? copied_ == tensor_.bytes : group_ == groups_;
  if (done) {
    tensor_hashes_[index_++] = tensor_hash_.low64();
    padding_ = Padding(BytesAs(*to_, tensor_));
    to_ = nullptr;
    ++*at_;
  }
  return piece;
}

PackWriter::Piece PackWriter::CopyRows() {
  const uint64_t left = tensor_.bytes - copied_;
  const auto count = static_cast<size_t>(left < kPieceBytes ? left : kPieceBytes);
  const std::span<const std::byte> bytes(tensor_.data + copied_, count);
  copied_ += count;
  return {bytes, bytes};
}

PackWriter::Work PackWriter::WorkOf(size_t worker) const {
  return {x_ + worker * max_cols_, codes_ + worker * kGroupRows * max_cols_,
          scales_ + worker * kGroupRows * (max_cols_ / kQuantiseBlock), failed_ + worker};
}

Result<PackWriter::Piece> PackWriter::ConvertRows(const Workers& workers) {
  const uint64_t rows = RowsOf(tensor_), row_blocks = tensor_.ne[0] / to_->block_size;
  const auto group_bytes = static_cast<size_t>(MatrixBytes(*to_, kGroupRows, row_blocks));
  const uint64_t first = group_, left = groups_ - first, most = piece_bytes_ / group_bytes;
  const auto count = static_cast<size_t>(left < most ? left : most);
  for (size_t worker = 0; worker < workers_; ++worker) failed_[worker] = false;
  ParallelFor(workers, count,
              [&](size_t i, size_t worker) { ConvertGroup(WorkOf(worker), first + i, piece_ + i * group_bytes); });
  for (size_t worker = 0; worker < workers_; ++worker) {
    if (failed_[worker]) {
      return Error{Status::kBadFile, "a weight is infinite or not a number, or its scale is", tensor_.name};
    }
  }
  group_ += count;
  const uint64_t begin_row = first * kGroupRows, end_row = group_ * kGroupRows < rows ? group_ * kGroupRows : rows;
  const auto row_bytes = static_cast<size_t>(tensor_.ne[0] / from_->block_size * from_->block_bytes);
  const auto bytes = static_cast<size_t>(MatrixBytes(*to_, end_row - begin_row, row_blocks));
  return Piece{{piece_, bytes},
               {tensor_.data + static_cast<size_t>(begin_row) * row_bytes,
                static_cast<size_t>(end_row - begin_row) * row_bytes}};
}

void PackWriter::ConvertGroup(const Work& work, uint64_t group, std::byte* out) const {
  const auto cols = static_cast<size_t>(tensor_.ne[0]);
  const size_t blocks = cols / kQuantiseBlock, from_blocks = cols / from_->block_size;
  const uint64_t first = group * kGroupRows, left = RowsOf(tensor_) - first;
  const auto rows = static_cast<size_t>(left < kGroupRows ? left : kGroupRows);
  const float* weight = weighed_ ? importance_ : nullptr;
  const auto quantise = to_->type == Type::kQB3 ? QuantiseQb3 : QuantiseQb4;
  PackedRow packed[kGroupRows];
  for (size_t r = 0; r < rows; ++r) {
    const std::byte* row = tensor_.data + static_cast<size_t>(first + r) * from_blocks * from_->block_bytes;
    int8_t* codes = work.codes + r * cols;
    uint16_t* scales = work.scales + r * blocks;
    bool fine;
    if (from_->type == Type::kQ4_0 && to_->type == Type::kQB4) {
      fine = CodesFromQ4_0(row, blocks, codes, scales);
    } else {
      from_->decode(row, from_blocks, work.x);
      if (to_->type == Type::kQ8_0) {
        fine = QuantiseQ8_0(work.x, blocks, out + r * blocks * to_->block_bytes);
      } else {
        fine = quantise(work.x, weight, blocks, codes, scales);
      }
    }
    if (!fine) {
      *work.failed = true;
      return;
    }
    packed[r] = {codes, scales};
  }
  if (to_->packed()) to_->encode_tile(packed, rows, blocks, out);
}

}  // namespace thimble
