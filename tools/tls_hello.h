// The name a TLS client asks for, read from its first bytes: the server name of the ClientHello. No
// interception: the bytes go on as they came. Source: RFC 8446, 4.1.2 and RFC 6066, 3.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

constexpr size_t kMaxHello = size_t{16} << 10;

struct [[nodiscard]] TlsHello {
    enum class Kind {
        Bad,       // the zero value: TLS, and not to be passed on; `why`
        NotTls,    // some other protocol
        NeedMore,  // as far as it goes it is a ClientHello
        Named,     // `name`, as it stands there
    } kind = Kind::Bad;
    std::string name;
    std::string why;
};
// `bytes`: everything the client has sent so far. Bad beyond kMaxHello, without a name, with two, and
// with an encrypted hello (which hides another name).
TlsHello read_tls_hello(std::string_view bytes);

}  // namespace peacrab
