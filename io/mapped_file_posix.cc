// SPDX-License-Identifier: Apache-2.0
//
// Mapped files on Linux and other POSIX systems.
#define _FILE_OFFSET_BITS 64  // files above 2 GiB are at least named as too large on a 32-bit machine

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "io/mapped_file.h"

namespace thimble {

namespace {

/// Closes a descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

Error SystemError(const char* what, const char* path) {
  return {Status::kSystem, what, path, {}, static_cast<uint64_t>(errno)};
}

// The end of a part's name: "-00001-of-00003.gguf".
constexpr size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";
constexpr std::string_view kGguf = ".gguf";
constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits + kGguf.size();

/// The number in five digits, 0 if that is not what they are.
size_t ParseDigits(std::string_view digits) {
  size_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    number = number * 10 + static_cast<size_t>(c - '0');
  }
  return number;
}

struct PartName {
  size_t number = 0;  // from 1; 0 when the name is not that of a part
  size_t count = 0;
};

PartName ParsePartName(std::string_view path) {
  if (path.size() < kTail) return {};
  const std::string_view tail = path.substr(path.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || !tail.ends_with(kGguf)) return {};
  const PartName name = {ParseDigits(tail.substr(1, kDigits)),
                         ParseDigits(tail.substr(1 + kDigits + kOf.size(), kDigits))};
  return name.number == 0 || name.count == 0 ? PartName{} : name;
}

}  // namespace

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Error MappedFile::Open(const char* path) {
  *this = MappedFile();
  const Descriptor file(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // not to wait for the writer of a pipe
  if (file.number() < 0) {
    if (errno == ENOENT) return {Status::kNotFound, "no such file", path};
    return SystemError("the file cannot be opened", path);
  }
  struct stat about = {};
  if (fstat(file.number(), &about) != 0) return SystemError("the file cannot be examined", path);
  if (S_ISDIR(about.st_mode)) return {Status::kBadArgument, "this is a directory; give a file", path};
  if (!S_ISREG(about.st_mode)) return {Status::kBadArgument, "this is not an ordinary file", path};
  if (about.st_size == 0) return {Status::kBadFile, "the file is empty", path};
  if (!std::in_range<ptrdiff_t>(about.st_size)) {
    return {Status::kTooLarge, "the file is too large to be mapped on this machine; it needs a 64-bit system", path};
  }
  const auto size = static_cast<size_t>(about.st_size);
  void* base = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), 0);
  if (base == MAP_FAILED) return SystemError("the file cannot be mapped", path);
  bytes_ = {static_cast<const std::byte*>(base), size};
  return {};
}

Error MappedModel::Open(const char* path) {
  part_count_ = 0;
  for (MappedFile& file : files_) file = MappedFile();
  const PartName name = ParsePartName(path);
  if (name.number > 1) {
    return {Status::kBadArgument, "this is a later part of a split model; give the first, whose number is 00001", path};
  }
  if (name.count > kMaxParts) {
    return {Status::kUnsupported,
            "the model is split into more than 64 parts; merge them with llama-gguf-split --merge", path};
  }
  if (Error error = files_[0].Open(path); !error.ok()) return error;
  parts_[0] = files_[0].bytes();
  const size_t count = std::max<size_t>(name.count, 1);

  char part_path[4096];
  const size_t length = std::strlen(path);
  if (count > 1 && length >= sizeof part_path) return {Status::kBadArgument, "the path is too long", path};
  if (count > 1) std::memcpy(part_path, path, length + 1);
  for (size_t i = 1; i < count; ++i) {
    char* digit = part_path + length - kTail + 1 + kDigits;  // behind the last one
    for (size_t n = i + 1, left = kDigits; left > 0; --left, n /= 10) *--digit = static_cast<char>('0' + n % 10);
    if (Error error = files_[i].Open(part_path); !error.ok()) {
      if (error.status == Status::kSystem)
        return {Status::kSystem, "a part of the split model cannot be read", path, {}, error.at};
      return {error.status,
              "a part of the split model is missing or cannot be used; all must stand beside the first",
              path,
              {},
              i + 1};
    }
    parts_[i] = files_[i].bytes();
  }
  part_count_ = count;
  return {};
}

}  // namespace thimble
