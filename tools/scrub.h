// Takes a key out of what a server answers, also when it comes in pieces: as it is, in base64 (any
// alignment, both alphabets) and percent-encoded. A server that echoes its request's headers must
// not thereby hand the key to the guest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

class Scrubber {
  public:
    // A key shorter than kShortest is a placeholder ("none", "ollama") and is not looked for: it
    // would eat words of the answer.
    static constexpr size_t kShortest = 8;
    static constexpr const char* kMark = "[key removed]";

    explicit Scrubber(const std::string& key);
    ~Scrubber();
    Scrubber(const Scrubber&) = delete;
    Scrubber& operator=(const Scrubber&) = delete;

    // What may be passed on of the bytes so far. Held back is only an end that could be the
    // beginning of a key, so a stream is not delayed.
    std::string feed(std::string_view bytes);
    std::string finish();  // the end of the stream: what was held back
    std::string whole(
        std::string_view text) const;  // a text that comes in one piece, e.g. a header

  private:
    std::vector<std::string> needles_;
    std::string held_;
    std::string replace(std::string_view text, size_t& done) const;
    size_t open_end(std::string_view text) const;
};

}  // namespace peacrab
