// Finds and shows guest images. The folder is the person's own and its files were hashed when it was
// built; what is checked here is that nothing is missing. Must not build by itself: that is the
// script guest-image/build of the source tree this program was built from.
#include "image.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "config.h"
#include "error.h"
#include "os.h"
#include "spawn.h"

#ifndef PEACRAB_SOURCE_DIR
#error "meson gives the source folder; `peacrab image build` needs it"
#endif

namespace peacrab {
namespace {

constexpr const char* kBuildHint = "build it with `peacrab image build`, or run tools/run";

std::string part(const std::string& folder, const json::Value& manifest, const char* name) {
    const json::Value* entry = manifest.find(name);
    const std::string file = entry ? entry->text("file") : "";
    if (file.empty() || file.find('/') != std::string::npos)
        throw Error("image: " + printable(folder) + ": manifest.json names no " + name + "; " +
                    kBuildHint);
    const std::string path = folder + "/" + file;
    if (::access(path.c_str(), R_OK) < 0)
        throw ErrnoError("image: " + printable(path) + "; " + kBuildHint);
    return path;
}

uint64_t folder_bytes(const std::string& folder) {
    uint64_t sum = 0;
    DIR* directory = ::opendir(folder.c_str());
    if (!directory) return 0;
    while (const dirent* entry = ::readdir(directory)) {
        struct stat info;
        if (::fstatat(::dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode))
            sum += static_cast<uint64_t>(info.st_blocks) * 512;
    }
    ::closedir(directory);
    return sum;
}

std::string current_id() {
    char target[4096];
    const ssize_t n =
        ::readlink((images_folder() + "/current").c_str(), target, sizeof target);
    return n > 0 ? std::string(target, static_cast<size_t>(n)) : "";
}

}  // namespace

std::string images_folder() { return data_folder() + "/images"; }

Image load_image(const std::string& folder) {
    const std::optional<std::string> text =
        read_file_if_exists(folder + "/manifest.json", KiB(256));
    if (!text)
        throw Error("image: there is no guest image in " + printable(folder) + "; " + kBuildHint);
    Image image;
    try {
        image.manifest = json::parse(*text);
    } catch (const Error& error) {
        throw Error("image: " + printable(folder) + "/manifest.json: " + error.what() + "; " +
                    kBuildHint);
    }
    // The link may move on to a newer image while a machine runs: hold on to the folder itself.
    image.folder = real_path(folder).value_or(folder);
    image.id = image.manifest.text("id", "unknown");
    image.kernel = part(image.folder, image.manifest, "kernel");
    image.initramfs = part(image.folder, image.manifest, "initramfs");
    image.base = part(image.folder, image.manifest, "base");
    return image;
}

Image current_image() { return load_image(images_folder() + "/current"); }

int image_list() {
    std::vector<std::string> ids;
    if (DIR* directory = ::opendir(images_folder().c_str())) {
        while (const dirent* entry = ::readdir(directory)) {
            const std::string name = entry->d_name;
            if (name[0] != '.' && name != "current" &&
                ::access((images_folder() + "/" + name + "/manifest.json").c_str(), F_OK) == 0)
                ids.push_back(name);
        }
        ::closedir(directory);
    }
    if (ids.empty()) {
        std::fprintf(stderr, "no guest image in %s; %s\n", images_folder().c_str(), kBuildHint);
        return 1;
    }
    std::sort(ids.begin(), ids.end());
    const std::string current = current_id();
    for (const std::string& id : ids)
        std::printf("%s  %5.0f MB%s\n", printable(id).c_str(),
                    static_cast<double>(folder_bytes(images_folder() + "/" + id)) / 1e6,
                    id == current ? "  current" : "");
    return 0;
}

int image_show() {
    const Image image = current_image();
    std::printf("id         %s\nfolder     %s\n", printable(image.id).c_str(), image.folder.c_str());
    for (const char* name : {"kernel", "initramfs", "base"}) {
        const json::Value& entry = image.manifest.at(name);
        std::string about;
        for (const char* key : {"version", "kind"})
            if (const std::string value = entry.text(key); !value.empty())
                about += "  " + printable(value);
        std::printf("%-10s %s  %s%s\n", name, printable(entry.text("file")).c_str(),
                    printable(entry.text("sha256").substr(0, 16)).c_str(), about.c_str());
    }
    return 0;
}

int image_build(const std::vector<std::string>& arguments) {
    const std::string script = std::string(PEACRAB_SOURCE_DIR) + "/guest-image/build";
    if (::access(script.c_str(), X_OK) < 0)
        throw Error("image: build: " + script +
                    " is not there: this program was built from a source tree that has gone; run "
                    "`peacrab image build` of a program built from one that is there");
    SpawnOptions options;
    options.program = script;
    options.arguments = arguments;
    options.arguments.insert(options.arguments.begin(), script);
    options.environment = own_environment();
    options.descriptors = {{0, 0}, {1, 1}, {2, 2}};
    Pidfd child = spawn(options);
    const ChildExit exit = child.wait();
    if (!exit.ok()) throw Error("image: build: " + exit.describe());
    return 0;
}

}  // namespace peacrab
