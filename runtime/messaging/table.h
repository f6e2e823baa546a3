// A table as lines of equal columns, for a messenger that has none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

// Columns that a text takes on a terminal, about.
size_t text_width(std::string_view text);
// The first row is the head. A cell wider than 32 columns moves what stands behind it.
std::string aligned_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace peacrab
