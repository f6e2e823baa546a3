// The guest image as the launcher sees it: a folder with manifest.json, found through the link
// `images/current`, and the command that builds one.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace peacrab {

struct Image {
    std::string folder;
    std::string id;
    std::string kernel;     // absolute paths of its three files
    std::string initramfs;
    std::string base;
    json::Value manifest;
};

std::string images_folder();  // ${XDG_DATA_HOME:-~/.local/share}/peacrab/images
// Throws Error naming what is missing and the command that makes it.
Image load_image(const std::string& folder);
Image current_image();

// `peacrab image ls|show|build`; gives the exit code.
int image_list();
int image_show();
int image_build(const std::vector<std::string>& arguments);

}  // namespace peacrab
