// Reads a hostile ClientHello without a TLS library: lengths within lengths, each checked against what
// is left of the one around it. Must not pass over what it does not understand in a place where a
// server could find another name.
#include "tls_hello.h"

#include <cstdint>

#include "error.h"

namespace peacrab {
namespace {

constexpr uint8_t kHandshake = 22;
constexpr uint8_t kClientHello = 1;
constexpr size_t kServerName = 0;
constexpr size_t kEncryptedHello = 0xfe0d;

// A view that is eaten from the front; throws when it is too short.
class Reader {
  public:
    explicit Reader(std::string_view bytes) : left_(bytes) {}
    size_t number(int bytes) {
        size_t value = 0;
        for (const char c : piece(static_cast<size_t>(bytes)))
            value = value << 8 | static_cast<uint8_t>(c);
        return value;
    }
    std::string_view piece(size_t size) {
        if (size > left_.size()) throw Error("its lengths do not fit");
        const std::string_view out = left_.substr(0, size);
        left_.remove_prefix(size);
        return out;
    }
    // A vector whose length stands in front of it in so many bytes.
    Reader vector(int bytes) { return Reader(piece(number(bytes))); }
    bool empty() const { return left_.empty(); }

  private:
    std::string_view left_;
};

std::string server_name(Reader extension) {
    Reader names = extension.vector(2);
    if (!extension.empty() || names.number(1) != 0) throw Error("its server name is of no known kind");
    Reader name = names.vector(2);
    if (!names.empty()) throw Error("it has two server names");
    std::string text;
    while (!name.empty()) text += name.piece(1);
    return text;
}

std::string name_of(Reader hello) {
    hello.piece(2 + 32);  // version, random
    (void)hello.vector(1);  // session
    (void)hello.vector(2);  // cipher suites
    (void)hello.vector(1);  // compression
    if (hello.empty()) throw Error("it names no server");
    Reader extensions = hello.vector(2);
    if (!hello.empty()) throw Error("its lengths do not fit");
    std::string name;
    bool seen = false;
    while (!extensions.empty()) {
        const size_t kind = extensions.number(2);
        Reader extension = extensions.vector(2);
        if (kind == kEncryptedHello) throw Error("it is encrypted and may ask for another server");
        if (kind != kServerName) continue;
        if (seen) throw Error("it has two server names");
        seen = true;
        name = server_name(extension);
    }
    if (name.empty()) throw Error("it names no server");
    return name;
}

// The handshake bytes of the records at the front. Empty `handshake`: not even one is there.
struct Collected {
    std::string handshake;
    bool other = false;  // a record of another kind follows
};
Collected collect(std::string_view bytes) {
    Collected out;
    while (bytes.size() >= 5 && !out.other) {
        Reader head(bytes);
        out.other = head.number(1) != kHandshake;
        head.number(2);
        const size_t length = head.number(2);
        if (length == 0 && !out.other) throw Error("it has an empty record");
        if (out.other || bytes.size() < 5 + length) break;
        out.handshake.append(bytes.substr(5, length));
        bytes.remove_prefix(5 + length);
    }
    return out;
}

TlsHello read(std::string_view bytes) {
    using Kind = TlsHello::Kind;
    if (bytes.size() > 1 && bytes[1] != 3) return {Kind::Bad, "", "its version is unknown"};
    const Collected records = collect(bytes);
    const std::string& handshake = records.handshake;
    if (!handshake.empty() && static_cast<uint8_t>(handshake[0]) != kClientHello)
        return {Kind::Bad, "", "it does not begin with a hello"};
    if (handshake.size() >= 4) {
        Reader reader(handshake);
        reader.number(1);
        const size_t length = reader.number(3);
        if (length > kMaxHello) return {Kind::Bad, "", "its hello is too long"};
        if (handshake.size() >= 4 + length)
            return {Kind::Named, name_of(Reader(reader.piece(length))), ""};
    }
    if (records.other) return {Kind::Bad, "", "its hello is interrupted"};
    if (bytes.size() >= kMaxHello) return {Kind::Bad, "", "its hello is too long"};
    return {Kind::NeedMore, "", ""};
}

}  // namespace

TlsHello read_tls_hello(std::string_view bytes) {
    if (bytes.empty()) return {TlsHello::Kind::NeedMore, "", ""};
    if (static_cast<uint8_t>(bytes[0]) != kHandshake) return {TlsHello::Kind::NotTls, "", ""};
    try {
        return read(bytes);
    } catch (const Error& error) {
        return {TlsHello::Kind::Bad, "", error.what()};
    }
}

}  // namespace peacrab
