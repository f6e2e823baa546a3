// Finds the lines, and asks. What cannot be shown stays a line of text, and the model can look for itself.
#include "context/pictures.h"

#include <algorithm>
#include <string_view>

#include "builtins/picture.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr std::string_view kBegin = "[picture: ";
constexpr size_t kLongestPath = 128;  // it is the call's id too, which the warden bounds so

// "": the line names none.
std::string path_in(std::string_view line) {
    if (!line.starts_with(kBegin)) return {};
    line.remove_prefix(kBegin.size());
    const std::string_view path = line.substr(0, std::min(line.find(','), line.size()));
    const bool inbox = path.starts_with("inbox/") && path.find("..") == std::string_view::npos;
    return inbox && path.size() < line.size() && path.size() <= kLongestPath ? std::string(path) : std::string();
}

}  // namespace

std::string picture_arguments(const std::string& path) {
    return json::dump(json::Value::object({{"path", path}}));
}

std::vector<Entry> with_pictures(std::vector<Entry> said, const std::function<std::string(const std::string& path)>& read) {
    std::vector<Entry> out;
    std::vector<std::string> asked;  // each once
    for (Entry& entry : said) {
        out.push_back(std::move(entry));
        const Entry one = out.back();
        for (const std::string& line : split(one.text, '\n')) {
            const std::string path = path_in(line);
            if (path.empty() || asked.size() == kMostPictures || std::find(asked.begin(), asked.end(), path) != asked.end()) continue;
            asked.push_back(path);
            if (const std::string picture = read(path); is_picture(picture))
                out.push_back({Entry::Kind::Picture, one.turn, one.call, picture, {}, Outcome::Ok});
        }
    }
    return out;
}

}  // namespace peacrab
