// SHA-256 of a stream. Source: FIPS 180-4. Our own, because the file helper runs in an agent's cell, and
// OpenSSL would read its configuration from there.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace peacrab {

class Sha256 {
  public:
    void add(std::string_view bytes);
    std::string hex();  // of all that was added; of no further use then

  private:
    void block(const unsigned char* bytes);
    std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<unsigned char, 64> buffer_{};
    size_t filled_ = 0;
    uint64_t bytes_ = 0;
};

}  // namespace peacrab
