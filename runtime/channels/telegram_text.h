// Markdown as Telegram wants it: its own HTML, in parts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct TelegramText {
    std::string html;
    std::string plain;  // should Telegram refuse the other
};
// At most 4096 units of UTF-16 each, once Telegram has read it. The same text gives the same parts.
std::vector<TelegramText> write_telegram(std::string_view markdown);

}  // namespace peacrab
