// SPDX-License-Identifier: Apache-2.0
//
// The directory of snapshots on Linux and other POSIX systems: names, times, the lock, and what goes when there is no
// room. Nothing here is held in memory between two calls: the directory is the only truth, and others change it too.
#define _FILE_OFFSET_BITS 64

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "io/hash.h"
#include "io/mapped_file.h"
#include "io/snapshot_file.h"
#include "io/snapshot_store.h"

namespace thimble {
namespace {

using Entry = SnapshotStore::Entry;

constexpr std::string_view kSnapshot = ".snapshot";
constexpr std::string_view kTokens = ".tokens";
constexpr std::string_view kPart = ".part";  // of WholeFile
constexpr std::string_view kLock = "lock";

constexpr size_t kDigits = 16;
constexpr size_t kStem = 4 * kDigits + 3;  // of a name, before its ending
constexpr size_t kAtOnce = 256;            // names that one pass over the directory remembers

constexpr long kNanoseconds = 1000000000;
constexpr long kLockStep = 5000000;  // nanoseconds between two looks at the lock
constexpr int kLockSteps = 1000;     // five seconds: more than any save takes

Error SystemError(const char* what, const char* path, int number) {
  return {Status::kSystem, what, path, {}, static_cast<uint64_t>(number)};
}

struct Name {
  char text[kStem + kSnapshot.size() + 1];
};

Name NameOf(const Entry& entry, std::string_view ending) {
  Name name;
  char* out = name.text;
  for (const uint64_t number : {entry.model, entry.limits, entry.length, entry.chain}) {
    if (out != name.text) *out++ = '-';
    for (size_t shift = 4 * kDigits; shift > 0; shift -= 4) *out++ = "0123456789abcdef"[number >> (shift - 4) & 15];
  }
  std::memcpy(out, ending.data(), ending.size());
  out[ending.size()] = 0;
  return name;
}

/// The numbers of a name that NameOf made, whatever its ending.
bool ParseStem(std::string_view text, Entry* entry) {
  if (text.size() < kStem) return false;
  uint64_t numbers[4] = {};
  for (size_t i = 0; i < kStem; ++i) {
    const char c = text[i];
    if (i % (kDigits + 1) == kDigits) {
      if (c != '-') return false;
      continue;
    }
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return false;
    uint64_t& number = numbers[i / (kDigits + 1)];
    number = number << 4 | static_cast<uint64_t>(letter ? c - 'a' + 10 : c - '0');
  }
  *entry = {.model = numbers[0], .limits = numbers[1], .length = numbers[2], .chain = numbers[3]};
  return true;
}

DIR* Stream(void* stream) { return static_cast<DIR*>(stream); }

/// The size of a file in the directory, false when it is none.
bool Examine(int directory, const char* name, struct stat* about) {
  return directory >= 0 && fstatat(directory, name, about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about->st_mode);
}

/// Used now: with the clock's own steps, which are finer than those of the file system.
void Touch(int directory, const char* name) {
  struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {}};
  clock_gettime(CLOCK_REALTIME, &times[1]);
  utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
}

/// The lock of those who save, until the end of a scope.
class Lock {
 public:
  explicit Lock(int directory)
      : file_(openat(directory, kLock.data(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)) {
    if (file_ < 0) {
      number_ = errno;
      return;
    }
    for (int i = 0; flock(file_, LOCK_EX | LOCK_NB) != 0; ++i) {
      number_ = errno;
      if ((number_ != EWOULDBLOCK && number_ != EINTR) || i == kLockSteps) return;
      const struct timespec step = {.tv_sec = 0, .tv_nsec = kLockStep};
      nanosleep(&step, nullptr);
    }
    number_ = 0;
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (file_ >= 0) close(file_);
  }
  int number() const { return number_; }  // 0: held; else errno

 private:
  int file_;
  int number_ = 0;
};

/// The first kAtOnce entries of any number, in the order of Before. No memory but this.
template <bool (*Before)(const Entry&, const Entry&)>
class FirstFew {
 public:
  void Add(const Entry& entry) {
    if (count_ == kAtOnce) {
      if (!Before(entry, entries_[0])) return;
      std::pop_heap(entries_.begin(), end(), Before);
      --count_;
    }
    entries_[count_++] = entry;
    std::push_heap(entries_.begin(), end(), Before);
  }
  std::span<const Entry> Sorted() {
    std::sort_heap(entries_.begin(), end(), Before);
    return {entries_.data(), count_};
  }

 private:
  auto end() { return entries_.begin() + static_cast<std::ptrdiff_t>(count_); }
  std::array<Entry, kAtOnce> entries_;
  size_t count_ = 0;
};

bool Longer(const Entry& a, const Entry& b) { return a.length != b.length ? a.length > b.length : a.chain > b.chain; }
bool Older(const Entry& a, const Entry& b) { return a.used != b.used ? a.used < b.used : a.length > b.length; }

uint64_t ChainOf(std::span<const Token> tokens) {
  uint64_t chain = 0;
  for (const Token token : tokens) chain = Session::NextChain(chain, token);
  return chain;
}

/// The tokens beside a snapshot; empty when they are not those of its name.
std::span<const Token> TokensOf(const MappedFile& file, const Entry& entry) {
  const auto bytes = file.bytes();
  if (bytes.size() % sizeof(Token) != 0 || bytes.size() / sizeof(Token) != entry.length) return {};
  const std::span<const Token> tokens(reinterpret_cast<const Token*>(bytes.data()), static_cast<size_t>(entry.length));
  return ChainOf(tokens) == entry.chain ? tokens : std::span<const Token>{};
}

/// Nobody misses these when they are torn or not there, so they are written as they come.
void WriteTokens(int directory, const char* name, std::span<const Token> tokens) {
  const int file = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file < 0) return;
  std::span<const std::byte> left = std::as_bytes(tokens);
  while (!left.empty()) {
    const ssize_t written = write(file, left.data(), left.size());
    if (written <= 0) break;
    left = left.subspan(static_cast<size_t>(written));
  }
  close(file);
}

Entry EntryOf(const Conversed& of) {
  const SnapshotHeader header = of.session->Describe();
  return {.model = of.model,
          .limits = SnapshotStore::LimitsHash(header),
          .length = header.length,
          .chain = header.chain,
          .bytes = SnapshotBytes(of) + header.length * sizeof(Token)};
}

}  // namespace

SnapshotStore::~SnapshotStore() {
  if (stream_ != nullptr) closedir(Stream(stream_));
}

uint64_t SnapshotStore::LimitsHash(const SnapshotHeader& header) {
  return HashOf(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, length)));
}

Error SnapshotStore::Open(const char* directory, uint64_t max_bytes) {
  if (stream_ != nullptr) closedir(Stream(stream_));
  stream_ = nullptr;
  const size_t length = std::strlen(directory);
  if (length == 0) return {Status::kBadArgument, "the name of the directory for snapshots is empty"};
  if (length > kMaxPath) return {Status::kBadArgument, "the path of the directory for snapshots is too long"};
  std::memcpy(path_, directory, length);
  path_[length] = 0;
  directory_length_ = length;
  max_bytes_ = max_bytes;
  if (mkdir(path_, 0700) != 0 && errno != EEXIST) {  // what people said is nobody else's business
    return SystemError("the directory for snapshots cannot be made", path_, errno);
  }
  stream_ = opendir(path_);
  if (stream_ != nullptr) return {};
  if (errno == ENOTDIR) return {Status::kBadArgument, "this is no directory, so no snapshots can lie in it", path_};
  return SystemError("the directory for snapshots cannot be opened", path_, errno);
}

const char* SnapshotStore::PathTo(const char* name) {
  path_[directory_length_] = '/';
  std::memcpy(path_ + directory_length_ + 1, name, std::strlen(name) + 1);
  return path_;
}

const char* SnapshotStore::PathOf(const Entry& entry) { return PathTo(NameOf(entry, kSnapshot).text); }

void SnapshotStore::Rewind() { rewinddir(Stream(stream_)); }

bool SnapshotStore::Next(Entry* entry) {
  const int directory = dirfd(Stream(stream_));
  while (const struct dirent* item = readdir(Stream(stream_))) {
    const std::string_view name = item->d_name;
    struct stat about = {};
    if (!ParseStem(name, entry) || name.substr(kStem) != kSnapshot) continue;
    if (!Examine(directory, item->d_name, &about)) continue;  // taken away meanwhile
    entry->bytes = static_cast<uint64_t>(about.st_size);
    entry->used = int64_t{about.st_mtim.tv_sec} * kNanoseconds + about.st_mtim.tv_nsec;
    if (Examine(directory, NameOf(*entry, kTokens).text, &about)) entry->bytes += static_cast<uint64_t>(about.st_size);
    return true;
  }
  return false;
}

bool SnapshotStore::Remove(const Entry& entry) {
  const int directory = dirfd(Stream(stream_));
  if (directory < 0) return false;
  const bool removed = unlinkat(directory, NameOf(entry, kSnapshot).text, 0) == 0;
  return (unlinkat(directory, NameOf(entry, kTokens).text, 0) == 0) || removed;
}

// Whether the session now holds what the name promises. A file that does not would be in the way of the right one.
bool SnapshotStore::Take(const Entry& entry, const Conversed& into, Found* found) {
  const Error error = RestoreSnapshot(PathOf(entry), into);
  const Session& session = *into.session;
  const bool is_it = error.ok() && session.length() == entry.length && session.chain() == entry.chain;
  if (error.status == Status::kNotFound || error.status == Status::kSystem || error.status == Status::kFull) {
    return false;
  }
  if (!is_it) {
    if (Remove(entry)) ++found->removed;
    return false;
  }
  found->length = static_cast<size_t>(entry.length);
  Touch(dirfd(Stream(stream_)), NameOf(entry, kSnapshot).text);
  return true;
}

// The longest names first, a few at a time: one walk along the prompt tells of all of them whether they fit.
Result<SnapshotStore::Found> SnapshotStore::Restore(std::span<const Token> prompt, const Conversed& into) {
  const Entry wanted = EntryOf(into);
  Found found;
  Entry last = {.length = UINT64_MAX, .chain = UINT64_MAX};  // of those that were looked at
  for (bool more = true; more;) {
    FirstFew<Longer> few;
    Rewind();
    for (Entry entry; Next(&entry);) {
      const bool same = entry.model == wanted.model && entry.limits == wanted.limits;
      if (same && entry.length > 0 && entry.length <= prompt.size() && Longer(last, entry)) few.Add(entry);
    }
    const std::span<const Entry> entries = few.Sorted();
    more = entries.size() == kAtOnce;
    std::array<bool, kAtOnce> fits;
    uint64_t chain = 0;
    size_t length = 0;
    for (size_t i = entries.size(); i-- > 0;) {
      for (; length < entries[i].length; ++length) chain = Session::NextChain(chain, prompt[length]);
      fits[i] = chain == entries[i].chain;
    }
    for (size_t i = 0; i < entries.size(); ++i) {
      if (fits[i] && Take(entries[i], into, &found)) return found;
    }
    if (more) last = entries.back();
  }
  into.session->Reset();
  return found;
}

// Whoever calls this holds the lock, so nobody is writing: parts and tokens without a snapshot are left-overs.
void SnapshotStore::SweepUp() {
  const int directory = dirfd(Stream(stream_));
  Rewind();
  while (const struct dirent* item = readdir(Stream(stream_))) {
    const std::string_view name = item->d_name;
    Entry entry;
    struct stat about = {};
    if (!ParseStem(name, &entry)) continue;
    const std::string_view ending = name.substr(kStem);
    const bool part = ending.starts_with(kSnapshot) && ending.substr(kSnapshot.size()) == kPart;
    const bool alone = ending == kTokens && !Examine(directory, NameOf(entry, kSnapshot).text, &about);
    if (part || alone) unlinkat(directory, item->d_name, 0);
  }
}

// Until all that is stored and `bytes` more are at most `most`, or nothing can be taken away. Whether anything was.
bool SnapshotStore::MakeRoom(uint64_t bytes, uint64_t most) {
  bool any = false;
  for (bool removed = true; removed;) {
    FirstFew<Older> few;
    uint64_t total = bytes;
    Rewind();
    for (Entry entry; Next(&entry);) {
      total += entry.bytes;
      few.Add(entry);
    }
    removed = false;
    for (const Entry& entry : few.Sorted()) {
      if (total <= most) return any;
      if (!Remove(entry)) continue;
      total -= entry.bytes;
      any = removed = true;
    }
  }
  return any;
}

// A full disk is a lower bound than max_bytes_: what is there has to do for one snapshot more.
Error SnapshotStore::Write(const Conversed& of, const Entry& entry) {
  SweepUp();
  MakeRoom(entry.bytes, max_bytes_);
  const Error error = SaveSnapshot(of, PathOf(entry));
  if (error.status != Status::kSystem || error.at != ENOSPC) return error;
  uint64_t total = 0;
  Rewind();
  for (Entry other; Next(&other);) total += other.bytes;
  return MakeRoom(entry.bytes, total) ? SaveSnapshot(of, PathOf(entry)) : error;
}

Error SnapshotStore::Save(const Conversed& of, std::span<const Token> tokens) {
  const int directory = dirfd(Stream(stream_));
  if (directory < 0) return SystemError("the directory for snapshots is not open", PathTo(""), EBADF);
  const Entry entry = EntryOf(of);
  if (tokens.size() != entry.length || ChainOf(tokens) != entry.chain) {
    return {Status::kBadArgument, "these are not the tokens that the session was fed", {}, {}, tokens.size()};
  }
  if (entry.bytes > max_bytes_) {
    return {Status::kTooLarge,
            "a snapshot is larger than all that may be stored; it has this many bytes",
            PathOf(entry),
            {},
            entry.bytes};
  }
  const Name name = NameOf(entry, kSnapshot);
  struct stat about = {};
  const auto kept = [&] {
    return Examine(directory, name.text, &about) && static_cast<uint64_t>(about.st_size) == SnapshotBytes(of);
  };
  if (!kept()) {
    const Lock lock(directory);
    if (lock.number() != 0) {
      return SystemError("the lock of the stored snapshots cannot be had", PathTo(kLock.data()), lock.number());
    }
    if (!kept()) {  // nobody else has kept it meanwhile
      Remove(entry);
      if (const Error error = Write(of, entry); !error.ok()) return error;
      WriteTokens(directory, NameOf(entry, kTokens).text, tokens);
    }
  }
  Touch(directory, name.text);
  return {};
}

Result<SnapshotStore::Comparison> SnapshotStore::Compare(std::span<const Token> prompt, const Conversed& with) {
  const Entry wanted = EntryOf(with);
  Comparison all;
  Rewind();
  for (Entry entry; Next(&entry);) {
    if (entry.model != wanted.model || entry.limits != wanted.limits) {
      ++(entry.model != wanted.model ? all.other_models : all.other_limits);
      continue;
    }
    ++all.same;
    MappedFile file;
    if (const Error error = file.Open(PathTo(NameOf(entry, kTokens).text)); !error.ok()) continue;
    const std::span<const Token> tokens = TokensOf(file, entry);
    const auto differs = std::mismatch(tokens.begin(), tokens.end(), prompt.begin(), prompt.end()).first;
    const auto common = static_cast<size_t>(differs - tokens.begin());
    if (common < all.common || tokens.empty()) continue;
    if (common == all.common && all.length != 0 && tokens.size() >= all.length) continue;
    all.common = common;
    all.length = tokens.size();
    all.next = common < tokens.size() ? tokens[common] : Token{-1};
  }
  return all;
}

}  // namespace thimble
