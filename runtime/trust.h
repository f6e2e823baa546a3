// Whom an https connection trusts: where the CA certificates are on this machine, and the one that
// a sandbox's proxy brings with it in the environment. Finds and checks; it parses no certificate.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

// Either a file for the TLS library to read, or, where the environment adds a CA, all of it here.
struct Trust {
    std::string path;
    std::string pem;
};

enum class TrustFrom {
    System,       // the machine's bundle, wherever this distribution keeps it
    Environment,  // SSL_CERT_FILE in its place, and PROXY_CA_CERT_B64 beside either
};

// Throws Error with a sentence for a person: nothing found, not readable, not base64, not PEM.
Trust find_trust(TrustFrom from);

// Padding may be missing, white space is skipped; anything else throws Error. RFC 4648, section 4.
std::string decode_base64(std::string_view text);

}  // namespace peacrab
