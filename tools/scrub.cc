// A server that is hostile, misconfigured or merely debugging may send our key back; the guest
// must not get it. What is looked for is computed once from the key, in each form in which it
// could come back; the texts are wiped with the object.
// Not covered, and not claimed: a server that wants to leak the key can always spell it otherwise.
#include "scrub.h"

#include <string.h>

#include <algorithm>

namespace peacrab {
namespace {

std::string base64(std::string_view bytes) {
    static constexpr char kAlphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    unsigned bits = 0;
    int have = 0;
    for (const char c : bytes) {
        bits = (bits << 8) | static_cast<unsigned char>(c);
        for (have += 8; have >= 6; have -= 6) out += kAlphabet[(bits >> (have - 6)) & 63];
    }
    return out;  // without the last, unfinished letter: it depends on what follows the key
}

// The letters of base64(x + key) that depend on the key alone, for `before` bytes of x.
std::string base64_inside(const std::string& key, size_t before) {
    const std::string text = base64(std::string(before, 'x') + key);
    return text.substr((before * 8 + 5) / 6);
}

std::string url_alphabet(std::string text) {
    std::replace(text.begin(), text.end(), '+', '-');
    std::replace(text.begin(), text.end(), '/', '_');
    return text;
}

std::string percent(const std::string& key, const char* digits) {
    std::string out;
    for (const char c : key) {
        const auto byte = static_cast<unsigned char>(c);
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c != '\0' && strchr("-._~", c) != nullptr)) {
            out += c;
        } else {
            out += '%';
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
    return out;
}

}  // namespace

Scrubber::Scrubber(const std::string& key) {
    if (key.size() < kShortest) return;
    needles_ = {key, percent(key, "0123456789ABCDEF"), percent(key, "0123456789abcdef")};
    for (size_t before = 0; before < 3; ++before) {
        const std::string text = base64_inside(key, before);
        if (text.size() < kShortest) continue;
        needles_.push_back(text);
        needles_.push_back(url_alphabet(text));
    }
    std::sort(needles_.begin(), needles_.end());
    needles_.erase(std::unique(needles_.begin(), needles_.end()), needles_.end());
}

Scrubber::~Scrubber() {
    for (std::string& needle : needles_) explicit_bzero(needle.data(), needle.size());
    explicit_bzero(held_.data(), held_.size());
}

// The text with every needle in it replaced; `done` is how far the last one reached.
std::string Scrubber::replace(std::string_view text, size_t& done) const {
    std::string out;
    done = 0;
    for (;;) {
        size_t at = std::string_view::npos;
        size_t length = 0;
        for (const std::string& needle : needles_) {
            const size_t found = text.find(needle, done);
            if (found == std::string_view::npos || found > at) continue;
            if (found == at && needle.size() < length) continue;
            at = found;
            length = needle.size();
        }
        if (at == std::string_view::npos) return out;
        out.append(text.substr(done, at - done)).append(kMark);
        done = at + length;
    }
}

// How many bytes at the end of `text` are the beginning of a needle.
size_t Scrubber::open_end(std::string_view text) const {
    size_t longest = 0;
    for (const std::string& needle : needles_)
        for (size_t n = std::min(needle.size() - 1, text.size()); n > longest; --n)
            if (text.ends_with(std::string_view(needle).substr(0, n))) longest = n;
    return longest;
}

std::string Scrubber::feed(std::string_view bytes) {
    held_.append(bytes);
    size_t done = 0;
    std::string out = replace(held_, done);
    const std::string_view rest = std::string_view(held_).substr(done);
    const size_t open = open_end(rest);
    out.append(rest.substr(0, rest.size() - open));
    held_ = std::string(rest.substr(rest.size() - open));
    return out;
}

std::string Scrubber::finish() {
    std::string rest;
    rest.swap(held_);  // shorter than any needle, or its beginning only: nothing to hide in it
    return rest;
}

std::string Scrubber::whole(std::string_view text) const {
    size_t done = 0;
    std::string out = replace(text, done);
    return out.append(text.substr(done));
}

}  // namespace peacrab
