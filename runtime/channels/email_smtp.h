// One mail handed to the server that sends it. What counts is when nobody can say whether it was taken: only between
// the last byte of it and the answer. Before that it was not, whatever else went out.
// Source: RFC 5321, RFC 6409.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocols/line_stream.h"

namespace peacrab {

struct SmtpOutcome {
    enum class Kind { NotSent, Sent, Transient, Permanent, Unknown } kind = Kind::NotSent;
    std::string why;  // a sentence
};

class Smtp {
  public:
    // A connection that is logged in.
    explicit Smtp(std::unique_ptr<ByteStream> stream) : lines_(std::move(stream), 4096) {}

    // `text` with CRLF at the end of each line. That `copy` is not taken is no failure; "": there is none.
    SmtpOutcome send(const std::string& from, const std::string& to, const std::string& copy, const std::string& text);
    void quit();

  private:
    struct Reply {
        int code = 0;
        std::string text;
    };
    Reply reply(Deadline deadline);
    Reply command(const std::string& line);
    SmtpOutcome refusal(const Reply& reply);

    LineStream lines_;
};

}  // namespace peacrab
