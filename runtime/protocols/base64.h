// RFC 4648, section 4. The way back stands in trust.h.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

std::string base64(std::string_view bytes);

}  // namespace peacrab
