#include "files/listing.h"

#include <charconv>

#include "error.h"
#include "os.h"
#include "protocols/tar.h"

namespace peacrab {
namespace {

int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = c > ' ' && c < 0x7f && c != '%';
        out += plain ? std::string(1, c) : "%" + hex_digits({&c, 1});
    }
    return out;
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) throw Error("listing: a name that cannot be read");
        out += static_cast<char>(high << 4 | low);
        i += 2;
    }
    return out;
}

std::string listing_line(const std::string& path, const Listed& entry) {
    std::string line(1, static_cast<char>(entry.kind));
    line += " " + std::to_string(entry.file() ? entry.size : 0) + " ";
    line += (entry.file() ? entry.hash : "-") + " " + escaped(path);
    if (entry.kind == Listed::Kind::Link) line += " " + escaped(entry.target);
    return line + "\n";
}

std::pair<std::string, Listed> parse_listing_line(std::string_view line) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto bad = [](const char* what) { return Error(std::string("listing: ") + what); };
    if (fields.size() < 4 || fields[0].size() != 1) throw bad("a line that cannot be read");
    Listed entry;
    const char kind = fields[0][0];
    if (kind != 'f' && kind != 'x' && kind != 'l' && kind != 'd') throw bad("an unknown kind");
    entry.kind = static_cast<Listed::Kind>(kind);
    if (fields.size() != (kind == 'l' ? 5 : 4)) throw bad("a line that cannot be read");
    const std::string& size = fields[1];
    const auto [end, failure] = std::from_chars(size.data(), size.data() + size.size(), entry.size);
    if (failure != std::errc() || end != size.data() + size.size()) throw bad("a size that is none");
    if (entry.file()) {
        entry.hash = fields[2];
        if (entry.hash.size() != 64) throw bad("a hash that is none");
        for (const char c : entry.hash)
            if (digit(c) < 0) throw bad("a hash that is none");
    } else {
        entry.size = 0;
    }
    const std::string path = unescaped(fields[3]);
    if (path.empty() || tar_path(path) != path) throw bad("a path that leads elsewhere");
    if (kind == 'l') {
        entry.target = unescaped(fields[4]);
        if (entry.target.empty() || entry.target.size() > TarLimits().name ||
            entry.target.find('\0') != std::string::npos)
            throw bad("a link that points to no usable name");
    }
    return {path, entry};
}

}  // namespace peacrab
