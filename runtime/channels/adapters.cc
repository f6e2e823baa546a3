// A channel reads what strangers wrote, and holds one secret. So it is confined before it is handed that secret: no
// program to run, no file to write, of files to read those that its libraries need, connections to the world.
#include "channels/adapters.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>

#include "channels/channel_files.h"
#include "channels/channel_port.h"
#include "channels/discord.h"
#include "channels/email.h"
#include "channels/irc.h"
#include "channels/matrix.h"
#include "channels/ntfy.h"
#include "channels/signal.h"
#include "channels/slack.h"
#include "channels/telegram.h"
#include "channels/webhook.h"
#include "channels/whatsapp.h"
#include "error.h"
#include "http.h"
#include "jail.h"
#include "landlock.h"

namespace peacrab {
namespace {

enum class Files { None, OverHttp };

struct Adapter {
    const char* name;
    int (*run)(ChannelPort& port, const ChannelPort::Start& start);
    Files files = Files::None;  // how those that come are fetched, if a process beside it does that
};

constexpr Adapter kAdapters[] = {
    {"discord", run_discord, Files::OverHttp},
    {"email", run_email},
    {"irc", run_irc},
    {"matrix", run_matrix, Files::OverHttp},
    {"ntfy", run_ntfy, Files::OverHttp},
    {"signal", run_signal},
    {"slack", run_slack, Files::OverHttp},
    {"telegram", run_telegram, Files::OverHttp},
    {"webhook", run_webhook},
    {"whatsapp", run_whatsapp, Files::OverHttp},
};

void limit(__rlimit_resource resource, rlim_t most) {
    rlimit now;
    if (::getrlimit(resource, &now) < 0) throw ErrnoError("channel: limits");
    now.rlim_cur = now.rlim_max = std::min(now.rlim_max, most);
    if (::setrlimit(resource, &now) < 0) throw ErrnoError("channel: limits");
}

}  // namespace

void confine_adapter() {
    LandlockRules rules;
    rules.read = {"/etc", "/usr", "/run/systemd/resolve", "/dev/urandom", env("SSL_CERT_FILE")};
    rules.tcp = LandlockRules::Tcp::Any;
    const UniqueFd paths = landlock_ruleset(rules, 1);
    const JailFilter filter = JailFilter::compile(JailClass::Adapter, JailFilter::Network::Own);
    limit(RLIMIT_AS, MiB(512).count);
    limit(RLIMIT_NOFILE, 64);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("channel: set dumpable");
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw ErrnoError("channel: no-new-privs");
    if (!landlock_restrict(paths.get())) throw ErrnoError("channel: landlock");
    if (!filter.install()) throw ErrnoError("channel: install filter");
    // What was built is run against: neither may work.
    if (::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
        throw Error("channel: landlock does not hold");
    if (::prctl(PR_GET_SECCOMP) >= 0 || errno != EPERM) throw Error("channel: the filter does not hold");
}

int run_channel(const std::vector<std::string>& arguments) {
    const Adapter* adapter = nullptr;
    std::string names;
    for (const Adapter& row : kAdapters) {
        names += (names.empty() ? "" : ", ") + std::string(row.name);
        if (arguments.size() == 1 && arguments[0] == row.name) adapter = &row;
    }
    if (!adapter) throw Error("channel: the name of one is needed: " + names);
    HttpClient::prepare();
    ChannelPort port;
    if (adapter->files == Files::OverHttp) begin_fetcher(port, confine_adapter);
    confine_adapter();
    const std::optional<ChannelPort::Start> start = port.start();
    return start ? adapter->run(port, *start) : 0;
}

}  // namespace peacrab
