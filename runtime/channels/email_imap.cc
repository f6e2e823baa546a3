// A server's answer is lines; a line may carry counted bytes (literals) in its midst. They are kept apart, so that
// nothing of a mail is ever taken for something the server has said.
#include "channels/email_imap.h"

#include <algorithm>
#include <chrono>

#include "channels/email_fields.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kLongestLine = size_t{2} << 20;  // the UIDs of a search are one line
constexpr size_t kMostLines = 20'000;             // of an answer
constexpr size_t kMostBytes = size_t{8} << 20;
constexpr Milliseconds kPatience{30'000};
constexpr char kLiteral = '\x01';

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return out;
}

[[noreturn]] void refused(const char* what, const std::string& line) {
    throw Error(what + printable(line.substr(0, 200)));
}

// The number behind `key` in a line; nothing: there is none.
std::optional<uint64_t> number_behind(std::string_view line, std::string_view key) {
    const size_t at = upper(line).find(key);
    if (at == std::string::npos) return std::nullopt;
    uint64_t value = 0;
    size_t digits = 0;
    for (size_t i = at + key.size(); i < line.size() && line[i] >= '0' && line[i] <= '9' && digits < 12; ++i, ++digits)
        value = value * 10 + static_cast<uint64_t>(line[i] - '0');
    return digits ? std::optional(value) : std::nullopt;
}

// The size of the literal that a line ends with.
std::optional<size_t> literal_size(std::string& line) {
    if (!line.ends_with('}')) return std::nullopt;
    const size_t open = line.rfind('{');
    if (open == std::string::npos) return std::nullopt;
    const std::string digits = line.substr(open + 1, line.size() - open - 2);
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    if (digits.size() > 10) throw Error("it sends more than was asked for");
    line.resize(open);
    line += kLiteral;
    return std::stoull(digits);
}

// "17-Jul-1996 02:44:25 -0700"
int64_t internal_date(std::string_view line) {
    const size_t at = upper(line).find("INTERNALDATE \"");
    if (at == std::string::npos || line.size() < at + 40) return 0;
    const std::string text(line.substr(at + 14, 26));
    const auto two = [&](size_t i) { return (text[i] == ' ' ? 0 : text[i] - '0') * 10 + (text[i + 1] - '0'); };
    constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const size_t month = kMonths.find(text.substr(3, 3));
    for (const size_t i : std::initializer_list<size_t>{1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 22, 23, 24, 25})
        if (text[i] < '0' || text[i] > '9') return 0;
    if (month == std::string_view::npos || month % 3 != 0) return 0;
    const std::chrono::year_month_day day(std::chrono::year(two(7) * 100 + two(9)), std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                          std::chrono::day(static_cast<unsigned>(std::clamp(two(0), 1, 31))));
    const int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
    const int64_t zone = (two(22) * 60 + two(24)) * 60 * (text[21] == '-' ? -1 : 1);
    return std::max<int64_t>(0, days * 86'400 + two(12) * 3600 + two(15) * 60 + two(18) - zone);
}

}  // namespace

Imap::Imap(std::unique_ptr<ByteStream> stream) : lines_(std::move(stream), kLongestLine) {
    for (const std::string& line : command("CAPABILITY").lines)
        if (upper(line).starts_with("CAPABILITY ")) capabilities_ = joined({" ", upper(line.substr(11, 4096)), " "});
    // Some let nobody in who does not say what it is.
    if (can("ID")) (void)command("ID (\"name\" \"peacrab\")");
}

bool Imap::can(const char* what) const {
    return capabilities_.find(joined({" ", what, " "})) != std::string::npos;
}

std::string Imap::quoted(std::string_view text) {
    for (const char c : text)
        if (c < ' ' || c > '~' || c == '"' || c == '\\') throw Error("this cannot be said to an IMAP server");
    return joined({"\"", text, "\""});
}

// A line that is not tagged, with all its literals.
std::string Imap::untagged(std::string line, Answer& answer, size_t literal_limit, Deadline deadline) {
    std::replace(line.begin(), line.end(), kLiteral, ' ');
    while (const std::optional<size_t> size = literal_size(line)) {
        size_t held = *size;
        for (const std::string& literal : answer.literals) held += literal.size();
        if (*size > literal_limit || held > kMostBytes || answer.literals.size() > 1000) throw Error("it sends more than was asked for");
        answer.literals.push_back(lines_.bytes(*size, deadline));
        std::string rest = lines_.line(deadline);
        std::replace(rest.begin(), rest.end(), kLiteral, ' ');
        line += rest;
        if (line.size() > kLongestLine) throw Error("a line is too long");
    }
    return line.substr(std::min<size_t>(2, line.size()));
}

Imap::Answer Imap::command(const std::string& text, size_t literal_limit) {
    const std::string tag = "p" + std::to_string(++number_);
    const Deadline deadline = Deadline::in(kPatience);
    lines_.write(joined({tag, " ", text, "\r\n"}), deadline);
    Answer answer;
    for (size_t bytes = 0; answer.lines.size() < kMostLines && bytes < kMostBytes;) {
        std::string line = lines_.line(deadline);
        if (line.starts_with("* ")) {
            line = untagged(std::move(line), answer, literal_limit, deadline);
            if (upper(line.substr(0, 3)) == "BYE") refused("it has ended the connection: ", line);
            bytes += line.size();
            answer.lines.push_back(std::move(line));
        } else if (line.starts_with(tag + " ")) {
            answer.text = line.substr(tag.size() + 1);
            answer.ok = upper(answer.text.substr(0, 3)) == "OK ";
            return answer;
        } else if (!line.starts_with("+")) {
            refused("it does not speak IMAP: ", line);
        }
    }
    throw Error("its answer has no end");
}

Imap::Mailbox Imap::select(const std::string& name, bool read_only) {
    const Answer answer = command((read_only ? "EXAMINE " : "SELECT ") + quoted(name));
    if (!answer.ok) refused("the mailbox cannot be opened: ", answer.text);
    Mailbox box;
    for (const std::string& line : answer.lines) {
        if (const auto value = number_behind(line, "[UIDVALIDITY ")) box.validity = static_cast<uint32_t>(*value);
        if (const auto value = number_behind(line, "[UIDNEXT ")) box.next = static_cast<uint32_t>(*value);
    }
    if (box.validity == 0) throw Error("the mailbox has no UIDVALIDITY");
    return box;
}

std::optional<std::vector<uint32_t>> Imap::search(const std::string& criteria) {
    const Answer answer = command("UID SEARCH " + criteria);
    if (!answer.ok) return std::nullopt;
    std::vector<uint32_t> found;
    for (const std::string& line : answer.lines) {
        if (!upper(line.substr(0, 6)).starts_with("SEARCH")) continue;
        for (const std::string& word : split(line.substr(6), ' '))
            if (!word.empty() && word.size() <= 10 && word.find_first_not_of("0123456789") == std::string::npos)
                found.push_back(static_cast<uint32_t>(std::stoull(word)));
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

std::optional<Imap::Mail> Imap::fetch(uint32_t uid, size_t most) {
    const Answer answer =
        command(joined({"UID FETCH ", std::to_string(uid), " (UID INTERNALDATE RFC822.SIZE BODY.PEEK[]<0.", std::to_string(most), ">)"}), most + 1024);
    size_t literal = 0;
    std::optional<Mail> found;
    for (const std::string& line : answer.lines) {
        const size_t here = static_cast<size_t>(std::count(line.begin(), line.end(), kLiteral));
        // The server may tell of other mails meanwhile.
        if (upper(line).find("BODY[]") != std::string::npos && number_behind(line, "UID ") == uid) {
            // What is no literal is hardly a mail.
            found = Mail{static_cast<int64_t>(number_behind(line, "RFC822.SIZE ").value_or(0)), internal_date(line),
                         here > 0 ? answer.literals.at(literal) : std::string()};
            found->size = std::max(found->size, static_cast<int64_t>(found->text.size()));
        }
        literal += here;
    }
    if (!answer.ok && !found) refused("a mail cannot be fetched: ", answer.text);
    return found;
}

std::optional<std::string> Imap::part(uint32_t uid, std::string_view what, size_t most) {
    const Answer answer = command(joined({"UID FETCH ", std::to_string(uid), " (UID BODY.PEEK", what, ")"}), most);
    for (const std::string& line : answer.lines) {
        if (number_behind(line, "UID ") != uid || upper(line).find("BODY[") == std::string::npos) continue;
        return answer.literals.empty() ? std::string() : answer.literals[0];
    }
    return std::nullopt;
}

std::string Imap::header(uint32_t uid) {
    return part(uid, "[HEADER]<0.65536>", 1 << 16).value_or(std::string());
}

std::optional<std::string> Imap::piece(uint32_t uid, uint64_t from, size_t count) {
    return part(uid, joined({"[]<", std::to_string(from), ".", std::to_string(count), ">"}), count);
}

void Imap::flag(uint32_t uid, const char* flags) {
    (void)command(joined({"UID STORE ", std::to_string(uid), " +FLAGS.SILENT (", flags, ")"}));
}

void Imap::move(uint32_t uid, const std::string& mailbox) {
    if (can("MOVE") && !mailbox.empty()) (void)command(joined({"UID MOVE ", std::to_string(uid), " ", quoted(mailbox)}));
}

std::string Imap::special(const char* attribute) {
    const Answer answer = command("LIST \"\" \"*\"");
    for (const std::string& line : answer.lines) {
        if (!upper(line).starts_with("LIST (") || upper(line).find(upper(attribute)) == std::string::npos) continue;
        // LIST (attributes) "/" name: a name in quotes, or an atom.
        const size_t close = line.find(')'), space = line.find(' ', close + 2);
        if (close == std::string::npos || space == std::string::npos || upper(line).find(upper(attribute)) > close) continue;
        std::string name = line.substr(space + 1);
        if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
        const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
        if (name.empty() || !plain) continue;
        return name;
    }
    return {};
}

bool Imap::idle(Deadline deadline, int wake_fd) {
    if (!can("IDLE")) return lines_.readable(deadline, wake_fd);
    const std::string tag = "p" + std::to_string(++number_);
    lines_.write(tag + " IDLE\r\n", Deadline::in(kPatience));
    const std::string go = lines_.line(Deadline::in(kPatience));
    bool happened = !go.starts_with("+");  // something came first: it is looked for, and nothing is waited for
    std::string line = happened ? go : std::string();
    while (!happened && lines_.readable(deadline, wake_fd)) {
        line = lines_.line(Deadline::in(kPatience));
        const std::string word = upper(line);
        if (word.starts_with("* BYE")) throw Error("it has ended the connection");
        happened = !word.starts_with("* OK");
        if (line.starts_with(tag + " ")) throw Error("it does not wait");
    }
    const Deadline end = Deadline::in(kPatience);
    lines_.write("DONE\r\n", end);
    for (size_t i = 0; i < kMostLines; ++i) {
        if (line.starts_with(tag + " ")) return happened;
        Answer ignored;
        line = lines_.line(end);
        if (line.starts_with("* ")) {
            (void)untagged(line, ignored, 1 << 16, end);
            happened = happened || upper(line).find(" EXISTS") != std::string::npos;
        }
    }
    throw Error("its answer has no end");
}

void Imap::logout() {
    lines_.write("p0 LOGOUT\r\n", Deadline::in(Milliseconds(1000)));
}

}  // namespace peacrab
