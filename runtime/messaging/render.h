// Markdown, as a model writes it, in the parts that a messenger takes: each within its limit, each whole by itself,
// code and quotes closed and opened again. The same text in the same style gives the same parts each time: after a
// crash the sending goes on by the number of a part.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "messaging/dialects.h"

namespace peacrab {

struct RenderedPart {
    std::string text;   // in the messenger's dialect
    std::string plain;  // the same without marks, within the same limit: for when the messenger refuses `text`
    // What stands between the part before and this one in the plain text of the whole: white space, and the marks of
    // a quote's empty lines.
    std::string gap;
    size_t again = 0;  // bytes at the beginning of `plain` that the whole has only once: the marks of quotes
};

// Never an empty part; none at all when there is nothing to be seen.
// For all parts together, gap + plain from `again` on is plain_text(markdown).
std::vector<RenderedPart> render(std::string_view markdown, const RenderStyle& style);

std::string plain_text(std::string_view markdown);

}  // namespace peacrab
