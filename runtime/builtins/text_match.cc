#include "builtins/text_match.h"

#include <string.h>

#include <algorithm>

#include "json.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kAround = 3;       // lines shown before and after
constexpr size_t kShownEach = 10;   // of many lines, at either end
constexpr size_t kShownLine = 200;  // bytes
constexpr size_t kListed = 8;
constexpr size_t kCompared = 200;  // bytes of a line, and lines of a run

struct Typographic {
    std::string_view bytes;
    char plain;
};
constexpr Typographic kTypographic[] = {
    {"\xe2\x80\x98", '\''}, {"\xe2\x80\x99", '\''}, {"\xe2\x80\x9a", '\''}, {"\xe2\x80\x9b", '\''},
    {"\xe2\x80\x9c", '"'},  {"\xe2\x80\x9d", '"'},  {"\xe2\x80\x9e", '"'},  {"\xe2\x80\x9f", '"'},
    {"\xe2\x80\x90", '-'},  {"\xe2\x80\x91", '-'},  {"\xe2\x80\x92", '-'},  {"\xe2\x80\x93", '-'},
    {"\xe2\x80\x94", '-'},  {"\xe2\x80\x95", '-'},  {"\xe2\x88\x92", '-'},  {"\xc2\xa0", ' '},
    {"\xe2\x80\xaf", ' '},  {"\xe2\x80\x89", ' '},  {"\xe2\x80\x87", ' '},  {"\xe3\x80\x80", ' '},
};

const Typographic* typographic(std::string_view text) {
    if (static_cast<unsigned char>(text[0]) < 0xc2) return nullptr;
    for (const Typographic& row : kTypographic)
        if (text.starts_with(row.bytes)) return &row;
    return nullptr;
}

std::string_view trimmed(std::string_view line) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

std::vector<uint16_t> pairs_of(std::string_view line) {
    line = line.substr(0, kCompared);
    std::vector<uint16_t> pairs;
    for (size_t i = 1; i < line.size(); ++i)
        pairs.push_back(static_cast<uint16_t>(static_cast<unsigned char>(line[i - 1]) << 8 |
                                              static_cast<unsigned char>(line[i])));
    std::sort(pairs.begin(), pairs.end());
    return pairs;
}

// How much two lines have in common, 0 to 100: pairs of bytes (Dice's measure).
size_t likeness(const std::vector<uint16_t>& one, const std::vector<uint16_t>& other) {
    if (one.empty() || other.empty()) return 0;
    size_t common = 0;
    for (auto a = one.begin(), b = other.begin(); a != one.end() && b != other.end();) {
        if (*a == *b) ++common, ++a, ++b;
        else if (*a < *b) ++a;
        else ++b;
    }
    return 200 * common / (one.size() + other.size());
}

// How many lines from `at` on are those of `wanted`, but for the blanks around them.
size_t run_length(const std::vector<std::string_view>& lines, size_t at,
                  const std::vector<std::string_view>& wanted, size_t most) {
    size_t n = 0;
    while (n < std::min(wanted.size(), most) && at + n < lines.size() &&
           trimmed(lines[at + n]) == trimmed(wanted[n]))
        ++n;
    return n;
}

}  // namespace

Loose loosen(std::string_view text) {
    Loose loose;
    const auto emit = [&](char c, size_t from, size_t to) {
        loose.text += c;
        loose.from.push_back(static_cast<uint32_t>(from));
        loose.to.push_back(static_cast<uint32_t>(to));
    };
    for (size_t i = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; i < text.size();) {
        const size_t word = std::min(text.find_first_not_of(" \t", i), text.size());
        const std::string_view rest = text.substr(word);
        const bool ends = rest.empty() || rest[0] == '\n' || rest.starts_with("\r\n");
        if (ends && rest.empty()) loose.cut_end = word > i;
        for (; i < word; ++i)
            if (!ends) emit(text[i], i, i + 1);
        if (rest.empty()) break;
        if (rest.starts_with("\r\n")) {
            emit('\n', i, i + 2);
            i += 2;
        } else if (const Typographic* row = typographic(rest)) {
            emit(row->plain, i, i + row->bytes.size());
            i += row->bytes.size();
        } else {
            emit(text[i], i, i + 1);
            ++i;
        }
    }
    return loose;
}

std::vector<size_t> find_all(std::string_view text, std::string_view what, size_t most,
                             Matches matches) {
    std::vector<size_t> found;
    size_t at = 0;
    while (!what.empty() && found.size() < most && at < text.size()) {
        // memmem, because its time does not grow with the product of both lengths.
        const void* next = ::memmem(text.data() + at, text.size() - at, what.data(), what.size());
        if (!next) break;
        found.push_back(static_cast<size_t>(static_cast<const char*>(next) - text.data()));
        at = found.back() + (matches == Matches::Apart ? what.size() : 1);
    }
    return found;
}

std::string_view line_end_of(std::string_view text) {
    size_t ends = 0, with_return = 0;
    for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
        ++ends;
        if (at > 0 && text[at - 1] == '\r') ++with_return;
    }
    return 2 * with_return > ends ? "\r\n" : "\n";
}

std::string with_line_ends(std::string_view text, std::string_view end) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i).starts_with("\r\n")) continue;
        if (text[i] == '\n')
            out += end;
        else
            out += text[i];
    }
    return out;
}

size_t line_at(std::string_view text, size_t offset) {
    const std::string_view before = text.substr(0, offset);
    return 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
}

std::string listed(const std::vector<size_t>& lines) {
    std::string text;
    for (size_t i = 0; i < lines.size() && i < kListed; ++i) {
        const bool last = i + 1 == lines.size();
        text += (i == 0 ? "" : last ? " and " : ", ") + std::to_string(lines[i]);
    }
    return text + (lines.size() > kListed ? " and more" : "");
}

std::string quoted_line(std::string_view line) {
    const bool longer = line.size() > kShownLine;
    line = utf8_prefix(line, kShownLine);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return printable(json::valid_utf8(line)) + (longer ? "..." : "");
}

std::string numbered(std::string_view text, size_t first, size_t last) {
    const size_t from = first > kAround ? first - kAround : 1, to = last + kAround;
    std::string out;
    size_t line = 0;
    for (const std::string_view each : lines_of(text)) {
        if (++line > to) break;
        if (line < from) continue;
        if (line == from + kShownEach && to - line > kShownEach) out += "  ...\n";
        if (line >= from + kShownEach && to - line >= kShownEach) continue;
        out += std::to_string(line) + "| " + quoted_line(each) + "\n";
    }
    return out;
}

std::string nearest(std::string_view text, std::string_view wanted) {
    const std::vector<std::string_view> lines = lines_of(text);
    std::vector<std::string_view> asked = lines_of(wanted);
    asked.erase(asked.begin(), std::find_if(asked.begin(), asked.end(), [](std::string_view line) {
                    return !trimmed(line).empty();
                }));
    if (asked.empty()) return "it holds only blanks";
    const std::vector<uint16_t> pairs = pairs_of(trimmed(asked.front()));
    size_t best = 0, best_likeness = 0, longest = 0;
    for (size_t i = 0; i < lines.size(); ++i) {
        const size_t run = run_length(lines, i, asked, kCompared);
        const size_t like = run ? 100 : longest ? 0 : likeness(pairs_of(trimmed(lines[i])), pairs);
        if (run < longest || (run == longest && like <= best_likeness)) continue;
        best = i;
        best_likeness = like;
        longest = run;
    }
    if (longest) longest = run_length(lines, best, asked, asked.size());
    const auto said = [&](size_t line) {
        return "line " + std::to_string(line + 1) + " is: " + quoted_line(lines[line]);
    };
    if (longest == asked.size())
        return "it is there from line " + std::to_string(best + 1) +
               " on but for the blanks around it; " + said(best);
    if (longest && best + longest < lines.size())
        return "its beginning is at line " + std::to_string(best + 1) + ", but " +
               said(best + longest);
    if (longest) return "its beginning is at line " + std::to_string(best + 1) + ", where the file ends";
    if (best_likeness < 50) return "no line is like its first one; read the file";
    return "the nearest to its first line: " + said(best);
}

}  // namespace peacrab
