// The text of a PDF file, page by page. What has no text in it, or hides it, is said.
#pragma once

#include <string_view>

#include "web/html.h"

namespace peacrab {

// At most `most` bytes of text. Never throws for what the file holds: a file that is encrypted, made of pictures
// or too complicated has a `note`, and as much text as there was.
PageText read_pdf(std::string_view bytes, size_t most);

}  // namespace peacrab
