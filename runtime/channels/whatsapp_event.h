// What a webhook of WhatsApp's says: messages as the events of README.md, and what became of ours. Pure.
// Source: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "channels/channel_port.h"
#include "json.h"

namespace peacrab {

// Stands before the value of a button of ours: those of others (of templates) are words.
constexpr std::string_view kWhatsAppButton = "pc:";

// A status of a message of ours. `mark` is what we have sent with it.
struct WhatsAppStatus {
    std::string mark, id, to;
    bool failed = false;  // else it is sent, delivered or read
    ChannelFailure failure;
};

struct WhatsAppNews {
    std::vector<json::Value> events;
    std::vector<WhatsAppStatus> statuses;
};

// `phone`: the id of our number; what is of another one is left out, and so is what cannot be read.
WhatsAppNews read_whatsapp(const std::string& body, const std::string& phone);

}  // namespace peacrab
