// SPDX-License-Identifier: Apache-2.0
//
// Snapshots as files: written beside their place, straight from the session's memory, synced, renamed; read where they
// are mapped.
#pragma once

#include "core/error.h"
#include "io/snapshot.h"

namespace thimble {

/// The file at `path` becomes this snapshot, or stays what it was. Takes no memory. Errors: those of WholeFile.
Error SaveSnapshot(const Conversed& of, const char* path);

/// Errors: those of MappedFile::Open and ReadSnapshot, with `path` for a name where they have none; then nothing has
/// changed.
Error RestoreSnapshot(const char* path, const Conversed& into);

}  // namespace thimble
