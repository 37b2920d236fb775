// SPDX-License-Identifier: Apache-2.0
//
// The directory of snapshots: the longest beginning wins, the least recently used goes, what is torn or foreign is
// never used, a full disk costs nothing, and several processes, some of them killed, do not hurt one another.
#include "io/snapshot_store.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "io/mapped_file.h"
#include "tests/alloc_counter.h"
#include "tests/load_model.h"

namespace thimble {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kModel = 77;
constexpr uint64_t kPlenty = uint64_t{1} << 30;
constexpr Limits kLimits{.context = 400, .batch = 16};

const LoadedModel& Tied() {
  static const auto* const model = new LoadedModel(THIMBLE_SOURCE_DIR "/tests/data/model/tied.gguf");
  return *model;
}

class ScratchDirectory {
 public:
  ScratchDirectory() {
    char path[] = "/tmp/thimble_store_XXXXXX";
    REQUIRE(mkdtemp(path) != nullptr);
    path_ = path;
  }
  ~ScratchDirectory() { fs::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::vector<std::string> Names(const std::string& ending = "") const {
    std::vector<std::string> names;
    for (const auto& item : fs::directory_iterator(path_)) {
      if (const std::string name = item.path().filename(); name.ends_with(ending)) names.push_back(name);
    }
    return names;
  }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& item : fs::directory_iterator(path_)) sum += item.file_size();
    return sum;
  }

 private:
  std::string path_;
};

std::vector<Token> Prompt(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<Token> tokens(count);
  for (Token& token : tokens) token = static_cast<Token>(random() % 256);
  return tokens;
}

/// A session and the store that it is kept in.
struct Keeper {
  explicit Keeper(const std::string& path, uint64_t bytes = kPlenty, const Limits& limits = kLimits)
      : session(Tied().model(), limits) {
    RequireOk(store.Open(path.c_str(), bytes));
  }

  Conversed conversed() { return {.model = kModel, .session = &*session}; }
  Error Keep(std::span<const Token> tokens) {
    session->Reset();
    RequireOk(session->Feed(tokens));
    return store.Save(conversed(), tokens);
  }
  size_t Restore(std::span<const Token> prompt) {
    const auto found = store.Restore(prompt, conversed());
    RequireOk(found.error());
    CHECK(session->length() == found->length);
    removed = found->removed;
    return found->length;
  }
  std::vector<float> Logits() {
    const auto logits = session->Logits();
    return {logits.begin(), logits.end()};
  }

  HeapSession session;
  SnapshotStore store;
  size_t removed = 0;
};

void Change(const std::string& path, size_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 4));
}

TEST_CASE("the longest stored beginning is restored, bit for bit") {
  const ScratchDirectory directory;
  const std::vector<Token> prompt = Prompt(1, 90);
  const auto first = [&](size_t n) { return std::span(prompt).first(n); };
  {
    Keeper keeper(directory.path());
    for (const size_t n : {size_t{20}, size_t{50}, size_t{70}}) RequireOk(keeper.Keep(first(n)));
    std::vector<Token> other = prompt;
    other[30] ^= 1;
    RequireOk(keeper.Keep(other));
  }
  Keeper keeper(directory.path());  // as another process has it
  HeapSession judge(Tied().model(), kLimits);
  for (const auto& pair : std::vector<std::pair<size_t, size_t>>{
           {90, 70}, {71, 70}, {70, 70}, {69, 50}, {50, 50}, {49, 20}, {20, 20}, {19, 0}, {1, 0}, {0, 0}}) {
    const size_t asked = pair.first;
    const size_t length = pair.second;
    CAPTURE(asked);
    CHECK(keeper.Restore(first(asked)) == length);
    if (length == 0) continue;
    judge->Reset();
    RequireOk(judge->Feed(first(length)));
    const auto at_once = judge->Logits();
    CHECK(keeper.Logits() == std::vector<float>(at_once.begin(), at_once.end()));
    for (size_t i = length; i < asked; ++i) {
      RequireOk(judge->Feed({&prompt[i], 1}));
      RequireOk(keeper.session->Feed({&prompt[i], 1}));
      const auto expected = judge->Logits();
      REQUIRE(keeper.Logits() == std::vector<float>(expected.begin(), expected.end()));
    }
  }
  CHECK(keeper.Restore(Prompt(2, 90)) == 0);

  Keeper other_limits(directory.path(), kPlenty, {.context = 400, .batch = 16, .k = Type::kF32, .v = Type::kF32});
  CHECK(other_limits.Restore(prompt) == 0);
  Keeper other_context(directory.path(), kPlenty, {.context = 70, .batch = 64});  // these may differ
  CHECK(other_context.Restore(prompt) == 70);
  CHECK(keeper.store.Restore(prompt, {.model = kModel + 1, .session = &*keeper.session})->length == 0);
}

TEST_CASE("of very many beginnings, most of them of another prompt, the right one is found") {
  const ScratchDirectory directory;
  Keeper keeper(directory.path());
  std::vector<Token> prompt = Prompt(3, 300);
  for (size_t n = 1; n <= prompt.size(); ++n) {
    RequireOk(keeper.session->Feed({&prompt[n - 1], 1}));
    RequireOk(keeper.store.Save(keeper.conversed(), std::span(prompt).first(n)));
  }
  CHECK(keeper.Restore(prompt) == 300);
  for (const int place : {299, 44, 43, 7, 1, 0}) {
    const auto same = static_cast<size_t>(place);
    std::vector<Token> other = prompt;
    other.resize(350, 5);
    other[same] ^= 1;
    CHECK(keeper.Restore(other) == same);
  }
}

TEST_CASE("the directory never holds more than it may, and the least recently used goes first") {
  const ScratchDirectory directory;
  uint64_t one = 0;
  std::vector<std::vector<Token>> prompts;
  for (uint32_t i = 0; i < 12; ++i) prompts.push_back(Prompt(10 + i, 40));
  {
    const ScratchDirectory scale;
    Keeper keeper(scale.path());
    RequireOk(keeper.Keep(prompts[0]));
    one = scale.bytes();
  }
  Keeper keeper(directory.path(), 3 * one + one / 2);
  for (int i = 0; i < 3; ++i) RequireOk(keeper.Keep(prompts[static_cast<size_t>(i)]));
  CHECK(keeper.Restore(prompts[0]) == 40);  // used again
  RequireOk(keeper.Keep(prompts[1]));       // kept already: used again
  CHECK(directory.bytes() == 3 * one);
  RequireOk(keeper.Keep(prompts[3]));
  CHECK(keeper.Restore(prompts[2]) == 0);
  CHECK(keeper.Restore(prompts[1]) == 40);
  CHECK(keeper.Restore(prompts[0]) == 40);
  for (const auto& prompt : prompts) {
    RequireOk(keeper.Keep(prompt));
    CHECK(directory.bytes() <= 3 * one + one / 2);
  }
  for (size_t i = 0; i < prompts.size(); ++i) CHECK(keeper.Restore(prompts[i]) == (i < 9 ? 0 : 40));

  Keeper smaller(directory.path(), one);  // another program allows less
  RequireOk(smaller.Keep(prompts[0]));
  CHECK(directory.Names(".snapshot").size() == 1);
  const Error error = Keeper(directory.path(), one - 1).Keep(prompts[1]);
  CHECK(error.status == Status::kTooLarge);
  CHECK(error.at == one);
  CHECK(keeper.Restore(prompts[0]) == 40);
}

TEST_CASE("what is torn or foreign is taken away, and the next shorter one serves") {
  const ScratchDirectory directory;
  Keeper keeper(directory.path());
  const std::vector<Token> prompt = Prompt(4, 60);
  const auto first = [&](size_t n) { return std::span(prompt).first(n); };
  RequireOk(keeper.Keep(first(20)));
  const auto path_of_longest = [&] {
    std::string path;
    uint64_t length = 0;
    keeper.store.Rewind();
    for (SnapshotStore::Entry entry; keeper.store.Next(&entry);) {
      if (entry.length < length) continue;
      length = entry.length;
      path = keeper.store.PathOf(entry);
    }
    return path;
  };
  const std::string shorter = path_of_longest();
  for (const double part : {0.0, 0.001, 0.5, 0.999}) {
    for (const bool cut : {true, false}) {
      RequireOk(keeper.Keep(first(60)));
      const std::string path = path_of_longest();
      const auto at = static_cast<size_t>(part * static_cast<double>(fs::file_size(path)));
      cut ? fs::resize_file(path, at) : Change(path, at);
      CHECK(keeper.Restore(prompt) == 20);
      CHECK(keeper.removed == 1);
      CHECK(!fs::exists(path));
      CHECK(directory.Names().size() == 3);  // the shorter one, its tokens, and the lock
    }
  }
  RequireOk(keeper.Keep(first(60)));
  const std::string path = path_of_longest();
  fs::copy_file(shorter, path, fs::copy_options::overwrite_existing);
  CHECK(keeper.Restore(prompt) == 20);
  CHECK(keeper.removed == 1);
  fs::copy_file(shorter, path);
  RequireOk(keeper.Keep(first(60)));  // another size than it must have: written anew
  CHECK(keeper.Restore(prompt) == 60);

  // What a killed process leaves behind goes with the next save; what is nobody's stays.
  const std::string stem = path.substr(0, path.size() - std::strlen(".snapshot"));
  fs::remove(path);
  const std::string left = shorter.substr(0, shorter.size() - std::strlen(".snapshot") - 4) + "0000";
  std::ofstream(left + ".snapshot.part") << "half";
  std::ofstream(left + ".tokens") << "half";
  std::ofstream(directory.path() + "/letter.txt") << "Dear";
  fs::create_directory(directory.path() + "/0000");
  RequireOk(keeper.Keep(first(30)));
  CHECK(!fs::exists(stem + ".tokens"));
  CHECK(!fs::exists(left + ".snapshot.part"));
  CHECK(!fs::exists(left + ".tokens"));
  CHECK(fs::exists(directory.path() + "/letter.txt"));
}

TEST_CASE("why a prompt finds nothing") {
  const ScratchDirectory directory;
  Keeper keeper(directory.path());
  std::vector<Token> prompt = Prompt(5, 50);
  CHECK(keeper.store.Compare(prompt, keeper.conversed())->same == 0);
  RequireOk(keeper.Keep(prompt));
  RequireOk(keeper.Keep(std::span(prompt).first(10)));
  Keeper other(directory.path(), kPlenty, {.context = 400, .k = Type::kF32, .v = Type::kF32});
  RequireOk(other.Keep(prompt));
  std::vector<Token> asked = prompt;
  asked[33] ^= 1;
  auto all = keeper.store.Compare(asked, keeper.conversed());
  RequireOk(all.error());
  CHECK(all->same == 2);
  CHECK(all->other_limits == 1);
  CHECK(all->other_models == 0);
  CHECK(all->common == 33);
  CHECK(all->length == 50);
  CHECK(all->next == prompt[33]);
  all = keeper.store.Compare(std::span(prompt).first(9), keeper.conversed());
  CHECK(all->common == 9);
  CHECK(all->length == 10);
  CHECK(all->next == prompt[9]);
  all = keeper.store.Compare(asked, {.model = kModel + 1, .session = &*keeper.session});
  CHECK(all->same == 0);
  CHECK(all->other_models == 3);
  for (const std::string& name : directory.Names(".tokens")) Change(directory.path() + "/" + name, 0);
  all = keeper.store.Compare(asked, keeper.conversed());
  CHECK(all->same == 2);
  CHECK(all->length == 0);
}

TEST_CASE("a full disk costs nothing but the snapshot") {
  const ScratchDirectory directory;
  Keeper keeper(directory.path());
  const std::vector<Token> prompt = Prompt(6, 60);
  const auto first = [&](size_t n) { return std::span(prompt).first(n); };
  RequireOk(keeper.Keep(first(20)));
  const auto names = directory.Names().size();

  // A limit on the size of files is what a test has instead of a full disk.
  const rlimit small = {1 << 12, RLIM_INFINITY};
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const Error error = keeper.Keep(first(40));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  CHECK(error.status == Status::kSystem);
  CHECK(std::string(error.name).starts_with(directory.path()));
  CHECK(directory.Names().size() == names);
  CHECK(keeper.session->length() == 40);
  RequireOk(keeper.session->Feed({&prompt[40], 1}));
  CHECK(keeper.Restore(prompt) == 20);

  CHECK(keeper.store.Save(keeper.conversed(), first(19)).status == Status::kBadArgument);
  CHECK(keeper.store.Save(keeper.conversed(), Prompt(7, 20)).status == Status::kBadArgument);
  CHECK(directory.Names().size() == names);
}

// What a process finds whose disk has room for a few snapshots only. 0: all was as it must be.
int UseSmallDisk(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 77;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (mount("tmpfs", path.c_str(), "tmpfs", 0, "size=512K") != 0) return 77;
  Keeper keeper(path);
  const auto names = [&] { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); };
  for (uint32_t i = 0; i < 30; ++i) {
    const std::vector<Token> prompt = Prompt(40 + i, 60);
    if (!keeper.Keep(prompt).ok()) return 1;
    if (keeper.Restore(prompt) != 60) return 2;
  }
  if (names() > 1 + 2 * 29) return 4;
  for (const auto& item : fs::directory_iterator(path)) fs::remove(item.path());
  std::ofstream filler(path + "/filler", std::ios::binary);
  filler << std::string(1 << 20, 'x') << std::flush;
  const std::vector<Token> prompt = Prompt(90, 60);
  const Error error = keeper.Keep(prompt);
  if (error.status != Status::kSystem || error.at != ENOSPC) return 5;
  if (!std::string_view(error.name).starts_with(path) || keeper.session->length() != 60) return 6;
  if (names() > 2) return 7;  // the filler, and the lock if there was room for its name
  filler.close();
  fs::remove(path + "/filler");
  return keeper.Keep(prompt).ok() && keeper.Restore(prompt) == 60 ? 0 : 8;
}

TEST_CASE("a full disk is a smaller bound, and with nothing to take away an error") {
  const ScratchDirectory directory;
  const pid_t child = fork();
  if (child == 0) _exit(UseSmallDisk(directory.path()));
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("left out: this system lets nobody mount a small disk");
  } else {
    CHECK(WEXITSTATUS(status) == 0);
  }
}

TEST_CASE("directories that are none") {
  const ScratchDirectory directory;
  SnapshotStore store;
  std::ofstream(directory.path() + "/file") << "x";
  CHECK(store.Open("", kPlenty).status == Status::kBadArgument);
  CHECK(store.Open((directory.path() + "/file").c_str(), kPlenty).status == Status::kBadArgument);
  CHECK(store.Open((directory.path() + "/no/such").c_str(), kPlenty).status == Status::kSystem);
  CHECK(store.Open(std::string(SnapshotStore::kMaxPath + 1, 'x').c_str(), kPlenty).status == Status::kBadArgument);
  const std::string fresh = directory.path() + "/new";
  RequireOk(store.Open(fresh.c_str(), kPlenty));
  struct stat about = {};
  REQUIRE(stat(fresh.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0700);
  Keeper keeper(fresh);
  fs::remove_all(fresh);  // under its feet
  CHECK(keeper.Restore(Prompt(1, 9)) == 0);
  CHECK(keeper.Keep(Prompt(1, 9)).status == Status::kSystem);
}

// --- several processes

constexpr uint32_t kPrompts = 8;
constexpr size_t kTokens = 48;

struct Known {
  std::vector<Token> prompt;
  std::vector<std::vector<float>> logits;  // behind each whole 8 tokens
};

// Restores, compares with what must come out, feeds on and saves, until the time is over. 0: nothing was ever wrong.
int Hammer(const std::string& path, uint64_t bytes, const std::vector<Known>& known, uint32_t seed, double seconds) {
  Keeper keeper(path, bytes);
  std::mt19937 random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  size_t hits = 0;
  while (std::chrono::steady_clock::now() < end) {
    const Known& one = known[random() % kPrompts];
    const size_t until = 8 * (1 + random() % (kTokens / 8));
    const auto found = keeper.store.Restore(std::span(one.prompt).first(until), keeper.conversed());
    if (!found || found->removed != 0 || found->length % 8 != 0) return 1;
    hits += found->length > 0 ? 1 : 0;
    for (size_t at = found->length;;) {
      if (at > 0 && keeper.Logits() != one.logits[at / 8]) return 2;
      if (at == until) break;
      if (!keeper.session->Feed(std::span(one.prompt).subspan(at, 8)).ok()) return 3;
      at += 8;
    }
    if (const Error error = keeper.store.Save(keeper.conversed(), std::span(one.prompt).first(until)); !error.ok()) {
      return 4;
    }
  }
  return hits > 0 ? 0 : 5;
}

TEST_CASE("processes that save, restore and evict at once, some of them killed, never meet a torn snapshot") {
  const ScratchDirectory directory;
  std::vector<Known> known(kPrompts);
  HeapSession session(Tied().model(), kLimits);
  for (uint32_t i = 0; i < kPrompts; ++i) {
    known[i].prompt = Prompt(100 + i % 4, kTokens);
    if (i >= 4) known[i].prompt[20] ^= 1;  // half of them begin like another
    session->Reset();
    known[i].logits.emplace_back();
    for (size_t at = 0; at < kTokens; at += 8) {
      RequireOk(session->Feed(std::span(known[i].prompt).subspan(at, 8)));
      const auto logits = session->Logits();
      known[i].logits.emplace_back(logits.begin(), logits.end());
    }
  }
  const uint64_t bytes = 6 * (session->image_bytes() + 1024);
  const auto start = [&](uint32_t seed, double seconds) {
    const pid_t child = fork();
    if (child == 0) _exit(Hammer(directory.path(), bytes, known, seed, seconds));
    REQUIRE(child > 0);
    return child;
  };
  const pid_t children[] = {start(1, 4), start(2, 4)};
  std::mt19937 random(9);
  for (uint32_t i = 0; i < 40; ++i) {
    const pid_t victim = start(10 + i, 4);
    usleep(20000 + static_cast<useconds_t>(random() % 60000));
    kill(victim, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(victim, &status, 0) == victim);
    CHECK(WIFSIGNALED(status));
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  Keeper keeper(directory.path(), bytes);
  RequireOk(keeper.Keep(known[0].prompt));  // sweeps up
  CHECK(directory.bytes() <= bytes);
  CHECK(directory.Names(".part").empty());
  CHECK(directory.Names(".snapshot").size() == directory.Names(".tokens").size());
  size_t entries = 0;
  keeper.store.Rewind();
  for (SnapshotStore::Entry entry; keeper.store.Next(&entry); ++entries) {
    MappedFile file;
    RequireOk(file.Open(keeper.store.PathOf(entry)));
    const auto info = ExamineSnapshot(file.bytes());
    RequireOk(info.error());
    CHECK(info->session.length == entry.length);
    CHECK(info->session.chain == entry.chain);
  }
  CHECK(entries >= 4);
}

#ifdef THIMBLE_ALLOC_COUNTER
TEST_CASE("an open store takes nothing from the heap") {
  const ScratchDirectory directory;
  Keeper keeper(directory.path());
  const std::vector<Token> prompt = Prompt(8, 60);
  RequireOk(keeper.session->Feed(prompt));
  const size_t before = CountAllocations().heap;
  const bool saved = keeper.store.Save(keeper.conversed(), prompt).ok();
  const bool restored = keeper.store.Restore(prompt, keeper.conversed())->length == 60;
  const bool compared = keeper.store.Compare(prompt, keeper.conversed())->common == 60;
  const size_t after = CountAllocations().heap;
  CHECK(saved);
  CHECK(restored);
  CHECK(compared);
  CHECK(after == before);
}
#endif

}  // namespace
}  // namespace thimble
