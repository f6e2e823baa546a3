// The programs behind the channels: started, and started again when they end, later and later. One that says its
// account is refused or used by somebody else stays down.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/secrets.h"
#include "messaging/channel_config.h"
#include "messaging/hub.h"

namespace peacrab {

class ChannelRun {
  public:
    // `adapter`: what starts one of ours, the type behind it: {"/usr/bin/peacrabd", "channel"}. Of `secrets` a channel is
    // told `channel-NAME`, as "token". Throws Error when no process can be started.
    ChannelRun(Loop& loop, Hub& hub, std::vector<std::string> adapter, std::vector<ChannelConfig> channels, SecretSource secrets);
    ~ChannelRun();
    ChannelRun(const ChannelRun&) = delete;
    ChannelRun& operator=(const ChannelRun&) = delete;
    bool asking() const;    // one waits for its secrets
    bool all_down() const;  // none runs, and none will be started again

  private:
    struct Running;
    void start(Running& one);
    void begin(Running& one, const json::Value& secrets);
    bool ended(const std::string& name, const std::string& why, const std::string& trouble);

    Loop& loop_;
    Hub& hub_;
    std::vector<std::string> adapter_;
    SecretSource secrets_;
    std::map<std::string, std::unique_ptr<Running>> all_;
};

}  // namespace peacrab
