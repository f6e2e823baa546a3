// The host's key store: one file per secret,
// `${XDG_CONFIG_HOME:-~/.config}/peacrab/secrets/<name>`, 0600 in a folder 0700. Nothing in the
// guest ever sees what is in it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "os.h"

namespace peacrab {

constexpr Bytes kMaxSecret = KiB(4);

// What `fd` holds, until its end; of more than a key may have so much that secret_fault() says so. No copy stays.
Secret read_bounded(int fd);

// Why `text` cannot be a key that is sent as a header; empty when it can. Only visible ASCII may
// stand in one: a line break would be a second header.
std::string secret_fault(const std::string& text);

class SecretStore {
  public:
    explicit SecretStore(std::string directory = default_directory());
    static std::string default_directory();  // config_folder() + "/secrets"

    const std::string& directory() const { return directory_; }
    // The secret without the line break at its end; nothing when there is none. Throws Error when
    // the file or the folder is owned or writable by another, when the file is readable by another,
    // no regular file, too long, or holds something that is no key; or when its command fails.
    std::optional<Secret> read(const std::string& name) const;
    bool exists(const std::string& name) const;  // a file of that name is there, usable or not
    // Replaces it in one step; makes the folder. Throws Error.
    void write(const std::string& name, const Secret& secret) const;
    // From now on it is what this command of the shell says, each time it is wanted: of a password manager, or of
    // the Secret Service (`secret-tool lookup ...`). It may take half a minute.
    void write_command(const std::string& name, const std::string& command) const;
    void remove(const std::string& name) const;  // one that is not there is fine

  private:
    std::string path(const std::string& name) const;  // throws for a name that is no plain word
    void replace(const std::string& name, const std::string& suffix, const std::string& text) const;
    std::string directory_;
};

// What gives a secret by its name. Throws Error.
using SecretSource = std::function<std::optional<Secret>(const std::string& name)>;
std::optional<Secret> stored_secret(const std::string& name);  // of the SecretStore

}  // namespace peacrab
