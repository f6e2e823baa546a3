// What came from an address, as text for a model: by its type, and where that says nothing by its first bytes.
#pragma once

#include <string>
#include <string_view>

#include "web/html.h"

namespace peacrab {

// `type`: the Content-Type header as it came. At most `most` bytes of text. Never throws for what the bytes
// are: what cannot be read has no text, and `note` says why and what to do.
PageText read_page(std::string_view bytes, std::string_view type, const WebAddress& at, size_t most);

}  // namespace peacrab
