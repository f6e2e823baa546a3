// The preset `developer`: at the first start cells may reach the package sources this machine itself
// uses, and nothing else. Written once into the configuration, where it is the person's from then on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/egress_rule.h"

namespace peacrab {

// Where the machine says what it uses. The defaults are this machine's own.
struct PackageSources {
    std::vector<std::string> apt_lists;  // one line a source
    std::vector<std::string> apt_stanzas;  // deb822
    std::vector<std::string> npm;          // npmrc
    std::vector<std::string> pip;          // pip.conf
    std::vector<std::string> addresses;    // of variables
};
PackageSources own_package_sources();

// The addresses in the text of each kind of file, as they stand there.
std::vector<std::string> apt_list_addresses(const std::string& text);
std::vector<std::string> apt_stanza_addresses(const std::string& text);
std::vector<std::string> npm_addresses(const std::string& text);
std::vector<std::string> pip_addresses(const std::string& text);

// http:// becomes GET and HEAD, https:// a tunnel; what is neither is left out, and so are user names
// and paths. Each once. `is_private`: whether a host resolves to an address that is not public.
std::vector<EgressRule> developer_rules(const PackageSources& sources,
                                        const std::function<bool(const std::string&)>& is_private);

// Writes the rules into the configuration when it has no `egress:` and `marker` is not there, then the
// marker: absent means closed from then on. Gives the rules that were written. Throws Error when the
// file cannot be changed: then all stays closed.
std::vector<EgressRule> write_developer_preset(
    const std::string& config, const std::string& marker, const PackageSources& sources,
    const std::function<bool(const std::string&)>& is_private);

// The same for this machine and the person's own configuration. Throws nothing: what fails is logged.
void write_own_preset();

}  // namespace peacrab
