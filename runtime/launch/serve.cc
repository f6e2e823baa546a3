// The hub in this process, the warden in a child of it, an adapter in each other.
#include "launch/serve.h"

#include "error.h"
#include "launch/local.h"
#include "messaging/serving.h"

namespace peacrab {

int run_serve(const Arguments& arguments) {
    LocalOptions local;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string& option = arguments[i];
        std::string* const value = option == "--model"       ? &local.model
                                   : option == "--model-url" ? &local.model_url
                                   : option == "--dialect"   ? &local.dialect
                                   : option == "--base"      ? &local.base
                                                             : nullptr;
        if (!value) throw UsageError("unknown option " + option);
        if (++i == arguments.size()) throw UsageError(option + " needs a value");
        *value = arguments[i];
    }
    const auto begin = [&local] {
        const auto warden = std::make_shared<LocalWarden>(local);
        return Serving::Agent{[warden] { return warden->open(); },
                              [warden](const std::string& agent, const std::string& op, const std::string& path) {
                                  return warden->open_files(agent, op, path);
                              },
                              HubOptions::Opening::AtOnce, warden->life()};
    };
    return serve_channels({{require_real_path("serve", "/proc/self/exe"), "channel"}, begin});
}

namespace {

// These need no agent to talk to: what fails is not that there is none.
int plainly(const std::function<int(const Arguments&)>& command, const Arguments& arguments) try {
    return command(arguments);
} catch (const UsageError&) {
    throw;
} catch (const Error& error) {
    std::fprintf(stderr, "peacrabd: %s\n", printable(error.what()).c_str());
    return kExitTurnFailed;
}

}  // namespace

int run_people(const Arguments& arguments) {
    return plainly(people_command, arguments);
}

int run_tasks(const Arguments& arguments) {
    return plainly(tasks_command, arguments);
}

}  // namespace peacrab
