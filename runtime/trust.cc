// A static binary has no compiled-in bundle to rely on, and a sandbox that intercepts TLS hands its
// CA over as base64 in a variable, because its certificate rotates and must not be baked in. So the
// bundle is looked for at run time, and the variable is added in memory, beside it and not in its
// place. Must never end in "trust nobody checked": what cannot be read is an error.
#include "trust.h"

#include <unistd.h>

#include <cstring>

#include "error.h"
#include "os.h"

namespace peacrab {

namespace {

std::string system_bundle() {
    for (const char* path :
         {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
          "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
          "/etc/ssl/cert.pem"})
        if (::access(path, R_OK) == 0) return path;
    return {};
}

std::string proxy_certificate() {
    const std::string encoded = env("PROXY_CA_CERT_B64");
    if (encoded.empty()) return {};
    std::string pem;
    try {
        pem = decode_base64(encoded);
    } catch (const Error& error) {
        throw Error(std::string("PROXY_CA_CERT_B64 ") + error.what() +
                    ": it must be the base64 of a PEM certificate");
    }
    if (pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
        throw Error("PROXY_CA_CERT_B64 holds no PEM certificate");
    return pem;
}

unsigned base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<unsigned>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a') + 26;
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0') + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    throw Error("is not base64");
}

}  // namespace

std::string decode_base64(std::string_view text) {
    std::string out;
    unsigned bits = 0, count = 0, padding = 0;
    for (char c : text) {
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
        if (c == '=' && ++padding <= 2) continue;
        const unsigned digit = base64_digit(c);
        if (padding) throw Error("is not base64");
        bits = (bits << 6 | digit) & 0xffff;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out += static_cast<char>(bits >> count & 0xff);
    }
    if (count == 6) throw Error("is not base64");
    return out;
}

Trust find_trust(TrustFrom from) {
    Trust trust;
    if (from == TrustFrom::Environment) {
        trust.path = env("SSL_CERT_FILE");
        if (!trust.path.empty() && ::access(trust.path.c_str(), R_OK) != 0)
            throw Error("SSL_CERT_FILE names " + printable(trust.path) +
                        ", which cannot be read: " + std::strerror(errno));
        trust.pem = proxy_certificate();
    }
    if (trust.path.empty()) trust.path = system_bundle();
    if (trust.path.empty() && trust.pem.empty())
        throw Error(
            "no CA certificates were found on this machine: install ca-certificates, or "
            "name a bundle in SSL_CERT_FILE");
    if (!trust.pem.empty() && !trust.path.empty())
        trust.pem += "\n" + read_file(trust.path, MiB(8));
    return trust;
}

}  // namespace peacrab
