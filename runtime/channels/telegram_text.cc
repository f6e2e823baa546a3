// Asks for what Telegram takes; all the work is in messaging/render.
#include "channels/telegram_text.h"

#include "messaging/render.h"

namespace peacrab {

std::vector<TelegramText> write_telegram(std::string_view markdown) {
    std::vector<TelegramText> parts;
    for (RenderedPart& part : render(markdown, {Markup::Telegram, 4096, RenderStyle::Unit::Utf16}))
        parts.push_back({std::move(part.text), std::move(part.plain)});
    return parts;
}

}  // namespace peacrab
