// Any bytes as an archive, whole and cut into pieces; what was read is written and read once more.
//
// Nothing may lead out of where it is put, or be beyond the limits; a body is as long as was said.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "error.h"
#include "protocols/tar.h"

using namespace peacrab;

namespace {

constexpr TarLimits kLimits{.name = 300, .depth = 8, .entries = 64, .file = KiB(64), .total = KiB(128)};

void require(bool holds) {
    if (!holds) std::abort();
}

struct Item {
    TarEntry entry;
    std::string data;
    bool ended = false;
};
struct Result {
    std::vector<Item> items;
    bool failed = false, ended = false;
    size_t taken = 0;
};

void check(const TarEntry& entry) {
    require(!entry.path.empty() && entry.path.size() <= kLimits.name && entry.path[0] != '/');
    require(entry.path.find('\0') == std::string::npos);
    require(("/" + entry.path + "/").find("/../") == std::string::npos);
    require(entry.mode <= 0777 && entry.size <= kLimits.file.count);
    require((entry.kind == TarEntry::Kind::Link) == !entry.target.empty());
}

Result read(std::string_view bytes, size_t piece) {
    Result result;
    TarReader reader({.begin =
                          [&](const TarEntry& entry) {
                              check(entry);
                              require(result.items.empty() || result.items.back().ended);
                              result.items.push_back({entry, {}, false});
                          },
                      .data = [&](std::string_view data) { result.items.back().data += data; },
                      .end =
                          [&] {
                              Item& item = result.items.back();
                              item.ended = true;
                              require(item.data.size() ==
                                      (item.entry.kind == TarEntry::Kind::File ? item.entry.size : 0));
                          }},
                     kLimits);
    try {
        for (size_t at = 0; at < bytes.size() && !reader.ended(); at += piece)
            result.taken += reader.feed(bytes.substr(at, piece));
    } catch (const Error&) {
        result.failed = true;
    }
    result.ended = reader.ended();
    return result;
}

bool same(const Result& a, const Result& b) {
    if (a.items.size() != b.items.size()) return false;
    for (size_t i = 0; i < a.items.size(); ++i)
        if (a.items[i].entry.path != b.items[i].entry.path ||
            a.items[i].entry.target != b.items[i].entry.target ||
            a.items[i].entry.kind != b.items[i].entry.kind || a.items[i].data != b.items[i].data)
            return false;
    return true;
}

// No mutation meets a checksum: a block that ends in `H` becomes a header that is taken for one.
void mend(std::string& bytes) {
    for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
        if (bytes[at + 511] != 'H') continue;
        bytes.replace(at + 257, 5, "ustar");
        bytes.replace(at + 148, 8, "        ");
        unsigned sum = 0;
        for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[at + i]);
        char digits[8];
        std::snprintf(digits, sizeof digits, "%06o", sum);
        bytes.replace(at + 148, 7, std::string(digits, 7));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1) return 0;
    std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    mend(bytes);
    const Result whole = read(bytes, bytes.size() + 1), cut = read(bytes, size_t{data[0]} + 1);
    require(whole.failed == cut.failed && whole.ended == cut.ended && same(whole, cut));
    require(whole.failed || whole.taken == cut.taken);
    if (!whole.ended) return 0;
    std::string again;
    TarWriter writer([&](std::string_view piece) { again += piece; });
    for (const Item& item : whole.items) {
        writer.begin(item.entry);
        writer.data(item.data);
    }
    writer.finish();

    const Result second = read(again, 512);
    require(second.failed || (second.ended && same(whole, second)));
    return 0;
}
