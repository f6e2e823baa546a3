// Reads and writes tar. The reader is a machine with four states that holds a block, an extension and
// the entry at hand, never a file; what it throws says what is wrong with the archive. Must not open
// anything: where entries land is the owner's.
#include "protocols/tar.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kMaxExtension = uint64_t{64} << 10;  // of a body that is about the next entry
constexpr size_t kMaxPart = 255;
constexpr uint64_t kMostOctal = 077777777777;

// Offsets and lengths in a header.
struct Field {
    size_t at, length;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUser{108, 8}, kGroup{116, 8}, kSize{124, 12},
    kTime{136, 12}, kSum{148, 8}, kTarget{157, 100}, kMagic{257, 8}, kPrefix{345, 155};
constexpr size_t kType = 156;

[[noreturn]] void bad(const std::string& what) {
    throw Error("tar: " + what);
}

std::string_view raw(std::string_view block, Field field) {
    return block.substr(field.at, field.length);
}

std::string text(std::string_view block, Field field) {
    const std::string_view all = raw(block, field);
    return std::string(all.substr(0, all.find('\0')));
}

// GNU: a first byte of 0x80, then the number itself, high byte first.
uint64_t number(std::string_view block, Field field) {
    const std::string_view all = raw(block, field);
    uint64_t value = 0;
    if (static_cast<unsigned char>(all[0]) == 0x80) {
        for (const char c : all.substr(1)) {
            if (value >> 55) bad("a number that is too large");
            value = value << 8 | static_cast<unsigned char>(c);
        }
        return value;
    }
    size_t at = all.find_first_not_of(' ');
    for (; at < all.size() && all[at] >= '0' && all[at] <= '7'; ++at)
        value = value << 3 | static_cast<uint64_t>(all[at] - '0');  // 12 digits at most
    if (at < all.size() && all[at] != ' ' && all[at] != '\0') bad("a number that is none");
    return value;
}

uint64_t sum_of(std::string_view block) {
    uint64_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i)
        sum += i >= kSum.at && i < kSum.at + kSum.length ? ' ' : static_cast<unsigned char>(block[i]);
    return sum;
}

// "1700000000.5"; nothing else is of use here.
bool decimal(std::string_view digits, uint64_t most, uint64_t& value) {
    value = 0;
    if (digits.empty()) return false;
    for (const char c : digits) {
        if (c < '0' || c > '9' || value > most / 10) return false;
        value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value <= most;
}

std::string require_target(std::string target, const TarLimits& limits) {
    if (target.empty() || target.size() > limits.name || target.find('\0') != std::string::npos)
        bad("a link that points to no usable name");
    return target;
}

size_t padding_of(uint64_t size) {
    return static_cast<size_t>((kBlock - size % kBlock) % kBlock);
}

}  // namespace

std::string tar_path(std::string_view path, const TarLimits& limits) {
    const auto refuse = [&](const char* why) {
        bad(printable(path.substr(0, 200)) + ": " + why);
    };
    if (path.find('\0') != std::string_view::npos) refuse("a zero byte in a name");
    if (!path.empty() && path[0] == '/') refuse("an absolute path");
    if (path.size() > limits.name + 2) refuse("a name that is too long");  // "./"
    std::string out;
    size_t depth = 0;
    for (size_t at = 0; at < path.size();) {
        const size_t slash = std::min(path.find('/', at), path.size());
        const std::string_view part = path.substr(at, slash - at);
        at = slash + 1;
        if (part.empty() || part == ".") continue;
        if (part == "..") refuse("`..` in a path");
        if (part.size() > kMaxPart) refuse("a name that is too long");
        if (++depth > limits.depth) refuse("too many folders in each other");
        if (!out.empty()) out += '/';
        out += part;
    }
    if (out.size() > limits.name) refuse("a name that is too long");
    return out;
}

TarReader::TarReader(Handlers handlers, TarLimits limits)
    : handlers_(std::move(handlers)), limits_(limits) {}

size_t TarReader::feed(std::string_view bytes) {
    size_t at = 0;
    while (at < bytes.size() && state_ != State::Ended) {
        if (state_ == State::Header) {
            const size_t n = std::min(kBlock - block_.size(), bytes.size() - at);
            block_.append(bytes.substr(at, n));
            at += n;
            if (block_.size() == kBlock) header();
        } else if (state_ == State::Body) {
            const auto n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size() - at));
            body(bytes.substr(at, n));
            at += n;
        } else {
            const size_t n = std::min(padding_, bytes.size() - at);
            padding_ -= n;
            at += n;
            if (padding_ == 0) state_ = State::Header;
        }
    }
    return at;
}

void TarReader::header() {
    const std::string block = std::move(block_);
    block_.clear();
    if (block.find_first_not_of('\0') == std::string::npos) {
        if (zeros_) state_ = State::Ended;
        zeros_ = true;
        return;
    }
    if (zeros_) bad("something behind its end");
    if (number(block, kSum) != sum_of(block)) bad("not an archive, or damaged (checksum)");
    if (raw(block, kMagic).substr(0, 5) != "ustar") bad("not an archive of a known kind");
    if (++entries_ > limits_.entries)
        bad("more than " + std::to_string(limits_.entries) + " entries");
    block_ = block;
    record(block[kType]);
    block_.clear();
}

// `block_` is the header, until we return.
void TarReader::record(char type) {
    left_ = number(block_, kSize);
    const bool extension = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!extension) {
        if (has_size_) left_ = size_;
        return begin(type);
    }
    if (left_ > kMaxExtension) bad("an extension that is too long");
    kind_ = type == 'x' ? Body::Pax : type == 'L' ? Body::LongName : Body::LongTarget;
    if (type == 'g') kind_ = Body::Nothing;  // about all that follow: nothing of use
    extra_.clear();
    padding_ = padding_of(left_);
    state_ = State::Body;
    if (left_ == 0) end_body();
}

void TarReader::begin(char type) {
    TarEntry entry;
    std::string name = text(block_, kName);
    // GNU's magic is followed by two spaces, and has other things where the prefix is.
    if (const std::string prefix = text(block_, kPrefix);
        !prefix.empty() && raw(block_, kMagic).substr(5, 1) == std::string_view("\0", 1))
        name = prefix + "/" + name;
    if (!path_.empty()) name = path_;
    using Kind = TarEntry::Kind;
    if (type == '0' || type == '\0' || type == '7')
        entry.kind = name.ends_with('/') && left_ == 0 ? Kind::Folder : Kind::File;
    else if (type == '5') entry.kind = Kind::Folder;
    else if (type == '2') entry.kind = Kind::Link;
    else if (type == '1' || type == '3' || type == '4' || type == '6') return skip(type == '1' ? left_ : 0);
    else bad(std::string("an entry of an unknown kind: ") + printable({&type, 1}));
    entry.path = tar_path(name, limits_);
    entry.mode = static_cast<uint32_t>(number(block_, kMode) & 0777);
    entry.mtime = has_mtime_ ? mtime_ : static_cast<int64_t>(number(block_, kTime) & kMostOctal);
    if (entry.kind == Kind::Link)
        entry.target = require_target(target_.empty() ? text(block_, kTarget) : target_, limits_);
    if (entry.kind == Kind::File) {
        if (entry.path.empty()) bad("a file without a name");
        if (left_ > limits_.file.count) bad(printable(entry.path) + ": larger than it may be");
        total_ += left_;
        if (total_ > limits_.total.count) bad("more bytes in all than it may have");
        entry.size = left_;
    } else {
        left_ = 0;  // whatever it says
    }
    forget_extensions();
    kind_ = Body::File;
    padding_ = padding_of(left_);
    state_ = State::Body;
    if (entry.path.empty()) kind_ = Body::Nothing;  // the folder itself
    else if (handlers_.begin) handlers_.begin(entry);
    if (left_ == 0) end_body();
}

void TarReader::skip(uint64_t size) {
    ++skipped_;
    forget_extensions();
    if (size > limits_.file.count) bad("an entry that is larger than it may be");
    total_ += size;
    if (total_ > limits_.total.count) bad("more bytes in all than it may have");
    kind_ = Body::Nothing;
    left_ = size;
    padding_ = padding_of(size);
    state_ = State::Body;
    if (left_ == 0) end_body();
}

void TarReader::body(std::string_view bytes) {
    left_ -= bytes.size();
    if (kind_ == Body::File && handlers_.data) handlers_.data(bytes);
    if (kind_ != Body::File && kind_ != Body::Nothing) extra_.append(bytes);
    if (left_ == 0) end_body();
}

void TarReader::end_body() {
    state_ = padding_ ? State::Padding : State::Header;
    if (kind_ == Body::File && handlers_.end) handlers_.end();
    if (kind_ == Body::Pax) read_pax();
    if (kind_ == Body::LongName) path_ = extra_.substr(0, extra_.find('\0'));
    if (kind_ == Body::LongTarget) target_ = extra_.substr(0, extra_.find('\0'));
    extra_.clear();
    kind_ = Body::Nothing;
}

// Records of "LENGTH KEY=VALUE\n", the length counting itself.
void TarReader::read_pax() {
    std::string_view rest = extra_;
    while (!rest.empty()) {
        const size_t space = rest.find(' ');
        uint64_t length = 0;
        if (space == std::string_view::npos || !decimal(rest.substr(0, space), kMaxExtension, length) ||
            length > rest.size() || length < space + 3 || rest[length - 1] != '\n')
            bad("an extension that cannot be read");
        const std::string_view line = rest.substr(space + 1, length - space - 2);
        rest.remove_prefix(length);
        const size_t equals = line.find('=');
        if (equals == std::string_view::npos) bad("an extension that cannot be read");
        const std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
        if (key == "path") path_ = value;
        else if (key == "linkpath") target_ = value;
        else if (key == "size") {
            if (!decimal(value, std::numeric_limits<int64_t>::max() / 2, size_)) bad("a size that is none");
            has_size_ = true;
        } else if (key == "mtime") {
            uint64_t when = 0;
            has_mtime_ = decimal(value.substr(0, value.find('.')), kMostOctal, when);
            mtime_ = static_cast<int64_t>(when);
        } else if (key.starts_with("GNU.sparse.")) {
            bad("a sparse file: pack it without --sparse");
        }
    }
}

void TarReader::forget_extensions() {
    path_.clear();
    target_.clear();
    has_size_ = has_mtime_ = false;
}

// --- writing

namespace {

void put(std::string& block, Field field, std::string_view what) {
    assert(what.size() <= field.length);
    block.replace(field.at, what.size(), what);
}

void put_octal(std::string& block, Field field, uint64_t value) {
    std::string digits(field.length - 1, '0');
    for (size_t at = digits.size(); at-- > 0 && value; value >>= 3)
        digits[at] = static_cast<char>('0' + (value & 7));
    put(block, field, digits);
}

// The length of a record counts its own digits.
std::string pax_record(std::string_view key, std::string_view value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + std::to_string(rest).size();
    length = rest + std::to_string(length).size();
    std::string out = std::to_string(length);
    out += ' ';
    out += key;
    out += '=';
    out += value;
    out += '\n';
    return out;
}

}  // namespace

void TarWriter::header(const TarEntry& entry, char type, const std::string& path,
                       const std::string& target) {
    std::string block(kBlock, '\0');
    put(block, kName, std::string_view(path).substr(0, kName.length));
    put_octal(block, kMode, entry.mode & 0777);
    put_octal(block, kUser, 0);
    put_octal(block, kGroup, 0);
    put_octal(block, kSize, entry.size <= kMostOctal ? entry.size : 0);
    const auto when = static_cast<uint64_t>(std::max<int64_t>(entry.mtime, 0));
    put_octal(block, kTime, std::min(when, kMostOctal));
    block[kType] = type;
    put(block, kTarget, std::string_view(target).substr(0, kTarget.length));
    put(block, kMagic, std::string_view("ustar\00000", 8));
    put_octal(block, {kSum.at, kSum.length - 1}, sum_of(block));
    block[kSum.at + 7] = ' ';
    out_(block);
}

void TarWriter::begin(const TarEntry& entry) {
    assert(left_ == 0);
    using Kind = TarEntry::Kind;
    const bool file = entry.kind == Kind::File;
    const std::string path = entry.path + (entry.kind == Kind::Folder ? "/" : "");
    std::string extra;
    if (path.size() > kName.length) extra += pax_record("path", path);
    if (entry.target.size() > kTarget.length) extra += pax_record("linkpath", entry.target);
    if (file && entry.size > kMostOctal) extra += pax_record("size", std::to_string(entry.size));
    if (!extra.empty()) {
        header({.mode = 0644, .size = extra.size()}, 'x', "pax", "");
        out_(extra);
        pad(extra.size());
    }
    TarEntry own = entry;
    if (!file) own.size = 0;
    header(own, file ? '0' : entry.kind == Kind::Folder ? '5' : '2', path,
           entry.kind == Kind::Link ? entry.target : "");
    left_ = size_ = own.size;
}

void TarWriter::data(std::string_view bytes) {
    assert(bytes.size() <= left_);
    if (bytes.empty()) return;
    out_(bytes);
    left_ -= bytes.size();
    if (left_ == 0) pad(size_);
}

void TarWriter::pad(uint64_t size) {
    static constexpr std::array<char, kBlock> kZeros{};
    if (const size_t n = padding_of(size)) out_({kZeros.data(), n});
}

void TarWriter::finish() {
    assert(left_ == 0);
    out_(std::string(2 * kBlock, '\0'));
}

}  // namespace peacrab
