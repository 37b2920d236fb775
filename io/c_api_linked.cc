// SPDX-License-Identifier: Apache-2.0
//
// The linked model by its C name. A file of its own: only a program that has one may link it.
#include "io/linked_model.h"
#include "io/thimble.h"

extern "C" const thimble_linked* thimble_linked_model(void) {
  return reinterpret_cast<const thimble_linked*>(&thimble::kLinkedModel);
}
