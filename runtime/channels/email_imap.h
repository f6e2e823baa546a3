// What the e-mail channel needs of IMAP4rev1: one mailbox, asked by UID. Blocking, one command at a time, every answer
// bounded. A connection that is of no use any more is an Error.
// Source: RFC 3501, RFC 2177 (IDLE), RFC 6851 (MOVE), RFC 6154 (\Sent), RFC 2971 (ID).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/line_stream.h"

namespace peacrab {

class Imap {
  public:
    // A connection that is logged in. Asks what the server can.
    explicit Imap(std::unique_ptr<ByteStream> stream);

    struct Mailbox {
        uint32_t validity = 0;
        uint32_t next = 0;  // UIDs below this one are given; 0: it does not say
    };
    // Throws Error also when it cannot be opened.
    Mailbox select(const std::string& name, bool read_only = false);
    // In order. `criteria` is IMAP's: what is of strangers in it, as quoted() gives it. Nothing: it does not search so.
    std::optional<std::vector<uint32_t>> search(const std::string& criteria);

    struct Mail {
        int64_t size = 0;
        int64_t arrived = 0;  // Unix seconds; 0: it does not say
        std::string text;     // the front of it
    };
    // Nothing: there is no such mail any more.
    std::optional<Mail> fetch(uint32_t uid, size_t most);
    std::string header(uint32_t uid);  // all fields; "": it is gone
    // Bytes of it; fewer than `count`: that is its end. Nothing: it is gone.
    std::optional<std::string> piece(uint32_t uid, uint64_t from, size_t count);

    // The flags or the move may fail; nothing depends on it.
    void flag(uint32_t uid, const char* flags);
    void move(uint32_t uid, const std::string& mailbox);
    // The mailbox with that attribute ("\\Sent"); "": none has it.
    std::string special(const char* attribute);

    // True: something has happened in the mailbox, or may have: look. False: the deadline, or `wake_fd`. A server that
    // cannot tell by itself is only waited for. At most 29 minutes.
    bool idle(Deadline deadline, int wake_fd);
    void logout();

    static std::string quoted(std::string_view text);  // Throws Error: it cannot be said so

  private:
    struct Answer {
        bool ok = false;
        std::string text;                  // of the last line
        std::vector<std::string> lines;    // untagged; literals stand in `literals`, and here as kLiteral
        std::vector<std::string> literals;
    };
    std::optional<std::string> part(uint32_t uid, std::string_view what, size_t most);
    Answer command(const std::string& text, size_t literal_limit = 1 << 16);
    std::string untagged(std::string line, Answer& answer, size_t literal_limit, Deadline deadline);
    bool can(const char* what) const;

    LineStream lines_;
    std::string capabilities_;  // in upper case, a space on both ends
    uint32_t number_ = 0;
};

}  // namespace peacrab
