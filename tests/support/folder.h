// A folder of its own for a test, gone with all that is in it.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "error.h"

namespace peacrab::test {

class Folder {
  public:
    explicit Folder(const std::string& in = "/tmp") : path(in + "/peacrab-test-XXXXXX") {
        if (!::mkdtemp(path.data())) throw ErrnoError("test: mkdtemp");
        ::chmod(path.c_str(), 0755);
    }
    Folder(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::string path;
};

}  // namespace peacrab::test
