// Where a text is cut into messages.
#pragma once

#include <cstddef>
#include <vector>

#include "messaging/dialects.h"
#include "messaging/flow.h"

namespace peacrab {

// Atoms `from` up to `to`. Between two pieces there is nothing but white space and marks of quotes.
struct Piece {
    size_t from, to;
};

// In order; each fits, as it is written and as its plain text. Cuts are between paragraphs, else between lines,
// sentences, words, else between characters, and not so early that a piece would be nearly empty.
std::vector<Piece> cut_into_pieces(const Flow& flow, DialectWriter& writer, const RenderStyle& style);

}  // namespace peacrab
