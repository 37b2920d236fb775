// SPDX-License-Identifier: Apache-2.0
//
// Whole files on Linux and other POSIX systems: write, sync, rename, sync the directory.
#define _FILE_OFFSET_BITS 64

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>  // rename
#include <cstring>

#include "io/whole_file.h"

namespace thimble {
namespace {

constexpr const char* kPart = ".part";

Error SystemError(const char* what, const char* path, int number) {
  return {Status::kSystem, what, path, {}, static_cast<uint64_t>(number)};
}

/// Whether `path` still names the open file: another process may have completed it since.
bool StillNamed(int file, const char* path) {
  struct stat open_one = {}, named_one = {};
  return fstat(file, &open_one) == 0 && lstat(path, &named_one) == 0 && open_one.st_dev == named_one.st_dev &&
         open_one.st_ino == named_one.st_ino;
}

/// Syncs the directory that `path` lies in, so that a new name in it stays. 0, or errno.
int SyncDirectory(const char* path) {
  char directory[WholeFile::kMaxPath];
  const char* slash = std::strrchr(path, '/');
  const size_t length = slash == nullptr ? 0 : static_cast<size_t>(slash - path) + 1;
  std::memcpy(directory, path, length);
  std::memcpy(directory + length, ".", 2);
  const int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return errno;
  const int number = fsync(file) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;  // some cannot, and need not
  close(file);
  return number;
}

}  // namespace

WholeFile::~WholeFile() {
  if (file_ < 0) return;
  unlink(part_);
  close(file_);
}

Error WholeFile::Create(const char* path, uint64_t bytes) {
  const size_t length = std::strlen(path);
  if (length == 0) return {Status::kBadArgument, "the name of the file to write is empty"};
  if (length + std::strlen(kPart) + 1 > sizeof part_) return {Status::kBadArgument, "the path is too long", path};
  struct stat about = {};
  if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
    return {Status::kBadArgument, "this is no ordinary file, and will not be overwritten", path};
  }
  std::memcpy(part_, path, length);
  std::memcpy(part_ + length, kPart, std::strlen(kPart) + 1);
  const int file = open(part_, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (file < 0) return SystemError("the file cannot be made", path, errno);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool ordinary = fstat(file, &about) == 0 && S_ISREG(about.st_mode);
  if (!ordinary || fcntl(file, F_SETLK, &lock) != 0 || !StillNamed(file, part_)) {
    close(file);
    return {Status::kBadArgument, "another process is writing this file, or the name behind it is taken; see NAME.part",
            path};
  }
  path_ = path;
  file_ = file;
  if (ftruncate(file_, 0) != 0) return SystemError("the file cannot be made", path, errno);
  const int number = posix_fallocate(file_, 0, static_cast<off_t>(bytes));
  if (number != 0 && number != EOPNOTSUPP && number != EINVAL && number != ENOSYS && number != EINTR) {
    return SystemError("the file cannot be given its size", path, number);
  }
  return {};
}

Error WholeFile::WriteAt(std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return SystemError("the file cannot be written", path_, written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Error WholeFile::Commit() {
  if (fsync(file_) != 0) return SystemError("the file cannot be written", path_, errno);
  if (rename(part_, path_) != 0) return SystemError("the file cannot be given its name", path_, errno);
  close(file_);
  file_ = -1;
  const int number = SyncDirectory(path_);
  return number == 0 ? Error{} : SystemError("the directory of the file cannot be written", path_, number);
}

void ForgetPages(std::span<const std::byte> mapped) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t before = (page - reinterpret_cast<uintptr_t>(mapped.data()) % page) % page;  // the first whole page
  if (mapped.size() < before + page) return;
  auto* first = const_cast<std::byte*>(mapped.data()) + before;
  madvise(first, (mapped.size() - before) / page * page, MADV_DONTNEED);
}

}  // namespace thimble
