// SPDX-License-Identifier: Apache-2.0
//
// See error.h.
#include "core/error.h"

namespace thimble {

Error::Error() = default;

Error::Error(Status s, const char* w) : Error(s, w, {}, {}, 0) {}

Error::Error(Status s, const char* w, uint64_t number) : Error(s, w, {}, {}, number) {}

Error::Error(Status s, const char* w, std::string_view n) : Error(s, w, n, {}, 0) {}

Error::Error(Status s, const char* w, std::string_view n, std::string_view d, uint64_t number)
    : status(s), what(w), name(n), detail(d), at(number) {}

}  // namespace thimble
