// A mail of which the last line, a single dot, did not go out is none: the server throws it away.
#include "channels/email_smtp.h"

#include "channels/email_fields.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr Milliseconds kPatience{20'000};
constexpr Milliseconds kForTheMail{40'000};
constexpr int kMostLines = 100;

// A line that begins with a dot has one more; the end is a dot alone.
std::string dotted(const std::string& text) {
    std::string out;
    out.reserve(text.size() + 64);
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '.' && (i == 0 || text[i - 1] == '\n')) out += '.';
        out += text[i];
    }
    if (!out.ends_with("\r\n")) out += "\r\n";
    return out;
}

}  // namespace

Smtp::Reply Smtp::reply(Deadline deadline) {
    Reply reply;
    for (int i = 0; i < kMostLines; ++i) {
        const std::string line = lines_.line(deadline);
        if (line.size() < 3 || line.substr(0, 3).find_first_not_of("0123456789") != std::string::npos) throw Error("it does not speak SMTP");
        reply.code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
        if (reply.text.size() < 400) reply.text += (reply.text.empty() ? "" : " ") + line.substr(std::min<size_t>(4, line.size()));
        if (line.size() == 3 || line[3] != '-') return reply;
    }
    throw Error("its answer has no end");
}

Smtp::Reply Smtp::command(const std::string& line) {
    lines_.write(line + "\r\n", Deadline::in(kPatience));
    return reply(Deadline::in(kPatience));
}

SmtpOutcome Smtp::refusal(const Reply& reply) {
    const std::string why = joined({"the mail server says: ", std::to_string(reply.code), " ", printable(reply.text.substr(0, 300))});
    if (reply.code == 421) return {SmtpOutcome::Kind::NotSent, why};
    return {reply.code >= 500 && reply.code < 600 ? SmtpOutcome::Kind::Permanent : SmtpOutcome::Kind::Transient, why};
}

SmtpOutcome Smtp::send(const std::string& from, const std::string& to, const std::string& copy, const std::string& text) {
    bool whole = false;
    try {
        Reply answer = command(joined({"MAIL FROM:<", from, ">"}));
        if (answer.code != 250) return refusal(answer);
        answer = command(joined({"RCPT TO:<", to, ">"}));
        if (answer.code != 250 && answer.code != 251) return refusal(answer);
        if (!copy.empty() && copy != to) (void)command(joined({"RCPT TO:<", copy, ">"}));
        answer = command("DATA");
        if (answer.code != 354) return refusal(answer);
        lines_.write(dotted(text), Deadline::in(kForTheMail + Milliseconds(text.size() / 400)));
        whole = true;
        lines_.write(".\r\n", Deadline::in(kPatience));
        answer = reply(Deadline::in(kForTheMail));
        if (answer.code == 250) return {SmtpOutcome::Kind::Sent, {}};
        return refusal(answer);
    } catch (const Error& error) {
        return {whole ? SmtpOutcome::Kind::Unknown : SmtpOutcome::Kind::NotSent, std::string("the mail server: ") + error.what()};
    }
}

void Smtp::quit() {
    try {
        lines_.write("QUIT\r\n", Deadline::in(Milliseconds(1000)));
    } catch (const Error&) {  // it has the mail
    }
}

}  // namespace peacrab
