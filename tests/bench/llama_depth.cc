// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp's decoding at a depth, without feeding it all: feeds TRUE tokens, and repeats the rows of its cache until
// it holds DEPTH tokens, as filled.cc does with Thimble's. The time does not know the difference, which TRUE = DEPTH
// shows. Prints the depth and tokens a second. Called by compare; not part of Thimble's build, needs libllama (of the
// layout of a sequence's state that it knows; of another one it says so):
//
//     g++ -O2 -std=c++17 -o llama_depth llama_depth.cc -lllama -lggml -lggml-base
//
//   llama_depth MODEL CACHE THREADS DEPTH TRUE N      CACHE: f16, q8_0 or q4_0, of keys and values; N tokens are timed
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int32_t kBatch = 512;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "llama_depth: %s\n", what);
  std::exit(1);
}

// Copies a state from front to back, changing what grows with the number of tokens.
class Copy {
 public:
  explicit Copy(const std::vector<uint8_t>& from) : from_(from) {}

  template <class T>
  T Next() const {
    T value;
    if (from_.size() - at_ < sizeof value) Fail("the state is shorter than its parts");
    std::memcpy(&value, from_.data() + at_, sizeof value);
    return value;
  }
  template <class T>
  T Take() {
    const T value = Next<T>();
    Put(value);
    at_ += sizeof value;
    return value;
  }
  template <class T>
  T Replace(T other) {
    const T value = Next<T>();
    Put(other);
    at_ += sizeof value;
    return value;
  }
  // The next `count` rows, again and again, as `wanted` rows.
  void Repeat(size_t count, size_t wanted, size_t row) {
    if ((from_.size() - at_) / row < count) Fail("the state is shorter than its rows");
    for (size_t done = 0; done < wanted; done += count) Append(std::min(count, wanted - done) * row);
    at_ += count * row;
  }
  std::vector<uint8_t> Rest() {
    Append(from_.size() - at_);
    return std::move(to_);
  }
  // Of `count` cells, `wanted`, each with a position of its own.
  void RepeatCells(size_t count, size_t wanted) {
    struct Cell {
      int32_t position, sequences, x, y, token, sequence;  // x, y: other coordinates of the position
    };
    std::vector<Cell> cells(count);
    if ((from_.size() - at_) / sizeof(Cell) < count) Fail("the state is shorter than its cells");
    std::memcpy(cells.data(), from_.data() + at_, count * sizeof(Cell));
    at_ += count * sizeof(Cell);
    for (size_t i = 0; i < wanted; ++i) {
      Cell cell = cells[i % count];
      const auto own = static_cast<int32_t>(i % count);
      if (cell.position != own || cell.sequences != 1 || cell.x != own || cell.y != own || cell.sequence != 0) {
        Fail("the cells of the state have another layout");
      }
      cell.position = cell.x = cell.y = static_cast<int32_t>(i);
      Put(cell);
    }
  }

 private:
  template <class T>
  void Put(T value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    to_.insert(to_.end(), bytes, bytes + sizeof value);
  }
  void Append(size_t bytes) { to_.insert(to_.end(), from_.data() + at_, from_.data() + at_ + bytes); }

  const std::vector<uint8_t>& from_;
  std::vector<uint8_t> to_;
  size_t at_ = 0;
};

// The state of a sequence of `tokens` tokens as one of `wanted`: magic and flags, streams, cells, [layers][rows] of
// keys, of values, and then what is recurrent, which begins with a number of cells, 1, and the last position.
std::vector<uint8_t> Repeated(const std::vector<uint8_t>& state, uint32_t tokens, uint32_t wanted) {
  Copy copy(state);
  copy.Take<uint64_t>();
  if (copy.Take<uint32_t>() != 1) Fail("more than one stream in the state");
  if (copy.Replace<uint32_t>(wanted) != tokens) Fail("the state has another number of cells");
  copy.RepeatCells(tokens, wanted);
  if (copy.Take<uint32_t>() != 0) Fail("the values are transposed");
  const auto layers = copy.Take<uint32_t>();
  copy.Take<uint64_t>();  // how keys and values are rotated
  for (uint32_t i = 0; i < 2 * layers; ++i) {
    copy.Take<int32_t>();  // type
    const auto row = copy.Take<uint64_t>();
    if (row == 0 || row > (1u << 20)) Fail("the rows of the state have another layout");
    copy.Repeat(tokens, wanted, row);
  }
  if (copy.Take<uint32_t>() != 1) Fail("the recurrent state has another layout");
  if (copy.Replace<int32_t>(static_cast<int32_t>(wanted) - 1) != static_cast<int32_t>(tokens) - 1) {
    Fail("the recurrent state has another position");
  }
  return copy.Rest();
}

void Deepen(llama_context* context, uint32_t tokens, uint32_t wanted) {
  std::vector<uint8_t> state(llama_state_seq_get_size(context, 0));
  state.resize(llama_state_seq_get_data(context, state.data(), state.size(), 0));
  const std::vector<uint8_t> deep = Repeated(state, tokens, wanted);
  llama_memory_clear(llama_get_memory(context), true);
  if (llama_state_seq_set_data(context, deep.data(), deep.size(), 0) == 0) Fail("the state was not taken back");
  if (llama_memory_seq_pos_max(llama_get_memory(context), 0) + 1 != static_cast<llama_pos>(wanted)) {
    Fail("the state has another length");
  }
}

// Tokens per second of `n` decoded one by one, behind one that is not counted.
double Decode(llama_context* context, int n, int32_t vocabulary) {
  std::chrono::steady_clock::time_point begin;
  for (int i = 0; i <= n; ++i) {
    llama_token token = static_cast<llama_token>(i * 7919 % vocabulary);
    if (llama_decode(context, llama_batch_get_one(&token, 1)) != 0) Fail("decoding failed");
    llama_synchronize(context);
    if (i == 0) begin = std::chrono::steady_clock::now();
  }
  return n / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) Fail("MODEL CACHE THREADS DEPTH TRUE N");
  const std::string cache = argv[2];
  const int32_t depth = std::atoi(argv[4]), fed = std::min(std::atoi(argv[5]), depth), n = std::atoi(argv[6]);
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) Fail("the model cannot be loaded");
  const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(depth + n + 256);
  params.n_batch = params.n_ubatch = kBatch;
  params.n_threads = params.n_threads_batch = std::atoi(argv[3]);
  params.type_k = params.type_v = cache == "f16" ? GGML_TYPE_F16 : cache == "q8_0" ? GGML_TYPE_Q8_0 : GGML_TYPE_Q4_0;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) Fail("no context");

  std::vector<llama_token> tokens(static_cast<size_t>(fed));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<llama_token>(i * 7919 % static_cast<size_t>(vocabulary));
  }
  for (int32_t done = 0; done < fed; done += kBatch) {
    const int32_t count = std::min(kBatch, fed - done);
    if (llama_decode(context, llama_batch_get_one(tokens.data() + done, count)) != 0) Fail("feeding failed");
  }
  if (fed < depth) Deepen(context, static_cast<uint32_t>(fed), static_cast<uint32_t>(depth));
  std::printf("%d %.3f\n", depth, Decode(context, n, vocabulary));
}
