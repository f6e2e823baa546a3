// Nothing is cut off, and the padding is bounded by the number of cells: one wide cell in a long table must not
// make each of its rows as wide.
#include "messaging/table.h"

#include <algorithm>

#include "messaging/graphemes.h"
#include "web/characters.h"

namespace peacrab {
namespace {

constexpr size_t kWidestColumn = 32;

void append_row(std::string& out, const std::vector<std::string>& row, const std::vector<size_t>& widths) {
    size_t blanks = 0;  // due before the next cell that says anything
    for (size_t i = 0; i < row.size(); ++i) {
        if (i) blanks += 2;
        if (!row[i].empty()) {
            out.append(blanks, ' ');
            blanks = 0;
            out += row[i];
        }
        const size_t width = text_width(row[i]);
        if (width < widths[i]) blanks += widths[i] - width;
    }
}

}  // namespace

size_t text_width(std::string_view text) {
    size_t width = 0;
    for (size_t at = 0; at < text.size();) {
        const char32_t c = next_character(text, at);
        if (!is_mark(c)) width += is_wide(c) ? 2 : 1;
    }
    return width;
}

std::string aligned_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], std::min(text_width(row[i]), kWidestColumn));
    }
    std::string out;
    for (const auto& row : rows) {
        if (&row != rows.data()) out += '\n';
        append_row(out, row, widths);
        if (&row != rows.data() || rows.size() == 1) continue;
        out += '\n';
        for (size_t i = 0; i < widths.size(); ++i) {
            if (i) out += "  ";
            out.append(std::max<size_t>(widths[i], 1), '-');
        }
    }
    return out;
}

}  // namespace peacrab
