// The whole way of an answer to a messenger: tree, flow of characters, pieces, and each written.
#include "messaging/render.h"

#include <utility>

#include "messaging/flow.h"
#include "messaging/markdown.h"
#include "messaging/split.h"

namespace peacrab {

std::vector<RenderedPart> render(std::string_view markdown, const RenderStyle& style) {
    const Flow flow(read_markdown(markdown));
    DialectWriter writer(flow, style);
    std::vector<RenderedPart> out;
    size_t before = 0;
    for (const Piece& piece : cut_into_pieces(flow, writer, style)) {
        RenderedPart part;
        part.plain = writer.again(piece.from);
        part.again = part.plain.size();
        part.plain += flow.text(piece.from, piece.to);
        part.gap = flow.text(before, piece.from);
        part.text = writer.write(piece.from, piece.to);
        before = piece.to;
        out.push_back(std::move(part));
    }
    return out;
}

std::string plain_text(std::string_view markdown) {
    return std::move(Flow(read_markdown(markdown)).plain);
}

}  // namespace peacrab
