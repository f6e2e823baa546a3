// The head of a mail: its fields, and what stands in them. Anybody may have written it: what is odd reads as absent.
// Pure. Source: RFC 5322, RFC 2047 (encoded words), RFC 2231 (parameters), RFC 8601 (Authentication-Results).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace peacrab {

// Texts in a row: a sum of strings is ten times the code.
std::string joined(std::initializer_list<std::string_view> texts);

struct EmailFields {
    std::vector<std::pair<std::string, std::string>> all;  // names in lower case, values unfolded

    const std::string* first(std::string_view name) const;  // nullptr: there is none
    std::string text(std::string_view name) const;          // "" as well
    size_t count(std::string_view name) const;
};

// The fields at the front of `raw`, at most 1,000; `body`: where they end.
EmailFields read_fields(std::string_view raw, size_t& body);

struct EmailAddress {
    std::string address;  // lower case, ASCII; "": it is not exactly one, or an odd one
    std::string name;     // as shown, cleaned
    std::string domain() const { return address.substr(address.find('@') + 1); }
};
EmailAddress read_address(std::string_view value);
bool is_address(std::string_view text);  // in lower case, as it may stand in a command of SMTP

// "text/plain; charset=utf-8" → "text/plain"; its parameters one by one.
std::string main_value(std::string_view value);
std::string parameter(std::string_view value, std::string_view name);

// With encoded words decoded, cleaned, on one line.
std::string readable(std::string_view value);
// As it may stand in a field: printable ASCII, else as encoded words.
std::string encoded_words(std::string_view utf8);

// The ids of Message-ID, In-Reply-To, References: `<left@right>`, in order; without those that are too long or odd.
std::vector<std::string> message_ids(std::string_view value);

// Lenient: what is no digit is skipped. In pieces too.
class Base64Reader {
  public:
    std::string take(std::string_view text);

  private:
    uint32_t bits_ = 0;
    int count_ = 0;
};
inline std::string base64_bytes(std::string_view text) { return Base64Reader().take(text); }
std::string quoted_printable_bytes(std::string_view text);

// Whether the server that calls itself `authserv` (".example.org": any beneath it) says that the mail comes from the domain of `from`. It is the
// topmost word of its that counts: what stands below may have come with the mail.
bool sender_proven(const EmailFields& fields, std::string_view authserv, const EmailAddress& from);
// What the server of the topmost word calls itself; "": there is none.
std::string authserv_of(const EmailFields& fields);

}  // namespace peacrab
