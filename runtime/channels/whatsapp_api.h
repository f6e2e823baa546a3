// One call of WhatsApp's Cloud API, and what its answer means for what was to be sent.
// Source: https://developers.facebook.com/docs/whatsapp/cloud-api (messages, media, error codes).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "channels/channel_port.h"
#include "http.h"
#include "json.h"

namespace peacrab {

// Not ok unless the API said so.
struct WhatsAppAnswer {
    enum class Kind { Failed, Ok, Auth } kind = Kind::Failed;  // Auth: this token is none, or no more
    json::Value body;
    ChannelFailure failure;
    int64_t code = 0;  // the API's own
    bool ok() const { return kind == Kind::Ok; }
};

// `status` and `body` as they came. Never throws for what is in them.
WhatsAppAnswer read_whatsapp_answer(int status, std::string_view body, std::string_view retry_after = {});
// An object {code, title or message, error_data} of an answer, or of a status that was told later.
ChannelFailure whatsapp_failure(const json::Value& error);

class WhatsAppApi {
  public:
    // `base` with the version and without a slash at the end; `phone`: the id of the number we send from. Throws Error.
    WhatsAppApi(std::string base, std::string phone, Secret token);

    WhatsAppAnswer about_us();  // the number itself
    // A POST to /PHONE/`what`, once: on a connection of its own.
    WhatsAppAnswer post(const char* what, const json::Value& body);
    // The same without effect when it is done twice.
    WhatsAppAnswer post_again(const char* what, const json::Value& body, Milliseconds limit);
    WhatsAppAnswer upload(std::string content_type, std::string body);
    WhatsAppAnswer media(const std::string& id);  // where its bytes are, for five minutes
    // Whether an address is one that may be told the token.
    bool has_media(const std::string& url) const;
    const std::string& phone() const { return phone_; }
    std::string authorization() const { return "Authorization: Bearer " + token_.reveal(); }

  private:
    WhatsAppAnswer call(std::optional<HttpClient>& client, HttpRequest request);

    std::string base_, phone_;
    Secret token_;
    std::optional<HttpClient> client_;
};

bool is_whatsapp_id(std::string_view id);      // of a message or of media: it becomes part of an address
bool is_whatsapp_person(std::string_view id);  // a number, without +

}  // namespace peacrab
