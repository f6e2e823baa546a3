// A table of beginnings, and of characters that stay away. Sources: the formats' own specifications; for text,
// WHATWG "MIME Sniffing", 7.1.
#include "messaging/file_kind.h"

#include <algorithm>
#include <cstdint>

#include "builtins/picture.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kLongestName = 100, kLongestExtension = 12;

struct Row {
    size_t at;
    std::string_view bytes;
    FileKind kind;
};

using namespace std::string_view_literals;

// The first that fits.
constexpr Row kRows[] = {
    {0, "%PDF-"sv, {"application/pdf", "file", ".pdf"}},
    {0, "PK\3\4"sv, {"application/zip", "file", ".zip"}},
    {0, "\x1f\x8b"sv, {"application/gzip", "file", ".gz"}},
    {0, "7z\xbc\xaf\x27\x1c"sv, {"application/x-7z-compressed", "file", ".7z"}},
    {0, "Rar!\x1a\7"sv, {"application/vnd.rar", "file", ".rar"}},
    {0, "\x7f"
        "ELF"sv, {"application/x-executable", "file", ".elf"}},
    {0, "MZ"sv, {"application/x-msdownload", "file", ".exe"}},
    {0, "SQLite format 3\0"sv, {"application/vnd.sqlite3", "file", ".sqlite"}},
    {0, "fLaC"sv, {"audio/flac", "audio", ".flac"}},
    {0, "ID3"sv, {"audio/mpeg", "audio", ".mp3"}},
    {0, "\xff\xfb"sv, {"audio/mpeg", "audio", ".mp3"}},
    {0, "\xff\xf3"sv, {"audio/mpeg", "audio", ".mp3"}},
    {0, "\xff\xf2"sv, {"audio/mpeg", "audio", ".mp3"}},
    {0, "\xff\xf1"sv, {"audio/aac", "audio", ".aac"}},
    {0, "#!AMR"sv, {"audio/amr", "voice", ".amr"}},
    {8, "WAVEfmt "sv, {"audio/wav", "audio", ".wav"}},
    {28, "OpusHead"sv, {"audio/ogg", "voice", ".ogg"}},
    {28, "\x80theora"sv, {"video/ogg", "video", ".ogv"}},
    {0, "OggS"sv, {"audio/ogg", "audio", ".ogg"}},
    {0, "\x1a\x45\xdf\xa3"sv, {"video/webm", "video", ".webm"}},
    {8, "AVI LIST"sv, {"video/x-msvideo", "video", ".avi"}},
    {4, "ftypM4A"sv, {"audio/mp4", "audio", ".m4a"}},
    {4, "ftypqt"sv, {"video/quicktime", "video", ".mov"}},
    {4, "ftyphei"sv, {"image/heic", "file", ".heic"}},
    {4, "ftypmif1"sv, {"image/heif", "file", ".heif"}},
    {4, "ftypavif"sv, {"image/avif", "file", ".avif"}},
    {4, "ftyp"sv, {"video/mp4", "video", ".mp4"}},
    {0, "II*\0"sv, {"image/tiff", "file", ".tiff"}},
    {0, "MM\0*"sv, {"image/tiff", "file", ".tiff"}},
};

bool is_text(std::string_view bytes) {
    for (size_t at = 0; at < bytes.size();) {
        const auto byte = static_cast<unsigned char>(bytes[at]);
        if (byte < ' ' && !(byte >= '\t' && byte <= '\r') && byte != 0x1b) return false;
        const size_t length = utf8_length(bytes.substr(at));
        if (length == 0) return bytes.size() - at < 4 && bytes.size() >= kSniffed;  // cut within a character
        at += length;
    }
    return true;
}

FileKind kind_of_text(std::string_view bytes) {
    if (bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);
    bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
    const std::string start = lower(bytes.substr(0, 512));
    for (const char* tag : {"<!doctype html", "<html", "<head", "<body", "<script"})
        if (start.starts_with(tag)) return {"text/html", "file", ".html"};
    if (start.starts_with("<?xml") || start.starts_with("<svg"))
        return start.find("<svg") == std::string::npos ? FileKind{"text/xml", "file", ".xml"}
                                                       : FileKind{"image/svg+xml", "file", ".svg"};
    return {"text/plain", "file", ".txt"};
}

uint32_t character(std::string_view bytes) {
    const auto first = static_cast<unsigned char>(bytes[0]);
    if (bytes.size() == 1) return first;
    uint32_t value = first & (0x7fU >> bytes.size());
    for (const char c : bytes.substr(1)) value = value << 6 | (static_cast<unsigned char>(c) & 0x3f);
    return value;
}

// Seen by nobody, or changes how what follows is seen.
bool hidden(uint32_t c) {
    constexpr struct {
        uint32_t from, to;
    } kHidden[] = {{0, 0x1f},          {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},
                   {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
                   {0x2060, 0x206f},   {0x3164, 0x3164},   {0xe000, 0xf8ff},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
                   {0xffa0, 0xffa0},   {0xfff0, 0xfffd},   {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff}};
    return std::any_of(std::begin(kHidden), std::end(kHidden), [c](const auto& range) { return c >= range.from && c <= range.to; });
}

bool blank(uint32_t c) {
    return c == ' ' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000;
}

// What stands for it.
std::string_view shown(std::string_view bytes) {
    const uint32_t c = character(bytes);
    if (hidden(c)) return "";
    if (blank(c)) return "-";
    const bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c > 0x7f;
    return word || c == '.' || c == '-' || c == '_' || c == '+' ? bytes : "_";
}

// The extension with its point; "" for none.
std::string_view extension_of(std::string_view name) {
    const size_t point = name.rfind('.');
    if (point == std::string_view::npos || point == 0 || name.size() - point > kLongestExtension) return {};
    return name.substr(point);
}

}  // namespace

FileKind file_kind(std::string_view beginning) {
    const std::string_view bytes = beginning.substr(0, kSniffed);
    if (const std::optional<PictureKind> picture = picture_kind(bytes)) {
        const std::string_view type = picture->media_type;
        return {picture->media_type, "picture",
                type == "image/png" ? ".png" : type == "image/gif" ? ".gif" : type == "image/webp" ? ".webp" : ".jpg"};
    }
    for (const Row& row : kRows)
        if (bytes.size() >= row.at && bytes.substr(row.at).starts_with(row.bytes)) return row.kind;
    if (!bytes.empty() && is_text(bytes)) return kind_of_text(bytes);
    return {};
}

std::string safe_file_name(std::string_view name, const FileKind& kind) {
    if (const size_t slash = name.find_last_of("/\\"); slash != std::string_view::npos) name.remove_prefix(slash + 1);
    std::string out;
    for (size_t at = 0; at < name.size();) {
        const size_t length = utf8_length(name.substr(at));
        out += length == 0 ? "_" : shown(name.substr(at, length));
        at += std::max<size_t>(length, 1);
    }
    out.erase(0, std::min(out.find_first_not_of(".-"), out.size()));
    while (out.ends_with('.')) out.pop_back();
    if (out.find_first_not_of('_') == std::string::npos) return std::string("file") + kind.extension;
    if (out.size() <= kLongestName) return out;
    const std::string extension(extension_of(out));
    std::string stem(utf8_prefix(out, kLongestName - extension.size()));
    while (stem.ends_with('.')) stem.pop_back();
    return stem + extension;
}

}  // namespace peacrab
