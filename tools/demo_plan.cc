// The demo model has to look alive without being a model, so a newcomer can see the whole way work
// before there is a key. It knows a table of words and a few forms of sentence, nothing else; what
// it does not know gives no step, and the answer then says so. `run: CMD` is taken to the letter:
// it is how tests and people drive the tools exactly. Input is hostile in size only: what comes
// out is a tool call, and whether it runs is not decided here.
#include "demo_plan.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "os.h"

namespace peacrab {
namespace {

struct Word {
    const char* said;  // as whole words, lower case
    const char* command;
};

constexpr const char* kKernel = "uname -sr";
constexpr const char* kUser = "id";
constexpr const char* kName = "uname -n";
constexpr const char* kSystem = "grep PRETTY_NAME /etc/os-release";
constexpr const char* kFolder = "pwd";
constexpr const char* kDisk = "df -h .";
constexpr const char* kMemory = "grep -E 'MemTotal|MemAvailable' /proc/meminfo";
constexpr const char* kProcessors = "nproc";
constexpr const char* kDate = "date";
constexpr const char* kUptime = "cat /proc/uptime";
constexpr const char* kNetwork = "cat /proc/net/dev";
constexpr const char* kFiles = "ls -la";
constexpr const char* kWhere = "uname -snr; grep PRETTY_NAME /etc/os-release; pwd";

constexpr Word kWords[] = {
    {"kernel", kKernel},
    {"uname", kKernel},
    {"user id", kUser},
    {"userid", kUser},
    {"uid", kUser},
    {"who am i", kUser},
    {"whoami", kUser},
    {"your user", kUser},
    {"which user", kUser},
    {"what user", kUser},
    {"hostname", kName},
    {"host name", kName},
    {"where do you run", kWhere},
    {"where are you", kWhere},
    {"where do you live", kWhere},
    {"where am i", kWhere},
    {"operating system", kSystem},
    {"distribution", kSystem},
    {"debian", kSystem},
    {"working directory", kFolder},
    {"current directory", kFolder},
    {"which folder", kFolder},
    {"disk", kDisk},
    {"disk space", kDisk},
    {"storage", kDisk},
    {"memory", kMemory},
    {"ram", kMemory},
    {"cpu", kProcessors},
    {"cpus", kProcessors},
    {"cores", kProcessors},
    {"processors", kProcessors},
    {"date", kDate},
    {"time", kDate},
    {"what day", kDate},
    {"uptime", kUptime},
    {"ip", kNetwork},
    {"ip address", kNetwork},
    {"network", kNetwork},
    {"list files", kFiles},
    {"list the files", kFiles},
    {"which files", kFiles},
    {"what files", kFiles},
    {"files", kFiles},
};

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trim(std::string_view text, std::string_view what = kBlanks) {
    const size_t first = text.find_first_not_of(what);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(what) - first + 1);
}

// Case-blind; gives what follows `word` and a blank.
std::optional<std::string_view> after_word(std::string_view text, std::string_view word) {
    if (text.size() <= word.size() || lower(text.substr(0, word.size())) != word) return {};
    if (kBlanks.find(text[word.size()]) == std::string_view::npos) return {};
    return trim(text.substr(word.size()));
}

std::string_view without_courtesy(std::string_view text) {
    for (const char* word : {"please", "now", "can you", "could you", "then", "and", "please"})
        if (const auto rest = after_word(text, word)) text = *rest;
    return text;
}

// One word that may be a path: quotes and the sentence's own mark are taken off.
std::optional<std::string> one_path(std::string_view text) {
    text = trim(text);
    while (text.ends_with('?') || text.ends_with('!') || text.ends_with(',')) text.remove_suffix(1);
    if (text.size() > 1 && text.ends_with('.') && !text.ends_with("..")) text.remove_suffix(1);
    text = trim(text, "\"'`");
    if (text.empty() || text.size() > 1024) return {};
    if (text.find_first_of(" \t\r\n") != std::string_view::npos) return {};
    return std::string(text);
}

std::string_view unquoted(std::string_view text) {
    text = trim(text);
    if (text.size() >= 2 && text.front() == text.back() && (text[0] == '"' || text[0] == '\''))
        return text.substr(1, text.size() - 2);
    return text;
}

std::optional<DemoStep> run_step(std::string_view line) {
    line = trim(line);
    if (line.size() < 4 || lower(line.substr(0, 4)) != "run:") return {};
    const std::string_view command = trim(line.substr(4));
    if (command.empty()) return {};
    return DemoStep{DemoStep::Kind::Shell, std::string(command), {}};
}

std::optional<DemoStep> read_step(std::string_view line) {
    std::optional<std::string_view> rest;
    bool sure = true;  // "show disk" is no file, "show a.txt" and "show the file disk" are
    if (!(rest = after_word(line, "read")) && !(rest = after_word(line, "cat"))) {
        sure = false;
        if (!(rest = after_word(line, "show"))) return {};
    }
    for (const char* word : {"me", "the", "file"}) {
        if (const auto next = after_word(*rest, word)) {
            rest = next;
            sure = sure || std::string_view(word) == "file";
        }
    }
    const auto path = one_path(*rest);
    if (!path || (!sure && path->find_first_of("./") == std::string::npos)) return {};
    return DemoStep{DemoStep::Kind::Read, *path, {}};
}

std::optional<DemoStep> write_step(std::string_view line) {
    std::optional<std::string_view> rest;
    if (!(rest = after_word(line, "write")) && !(rest = after_word(line, "save"))) return {};
    // FILE: TEXT
    const size_t colon = rest->find(": ");
    if (colon != std::string_view::npos) {
        if (const auto path = one_path(rest->substr(0, colon)))
            return DemoStep{DemoStep::Kind::Write, *path,
                            std::string(unquoted(rest->substr(colon + 2)))};
    }
    // TEXT to FILE: the last "to" or "in" that is followed by one word
    const std::string low = lower(*rest);
    for (const char* word : {" to ", " into ", " in "}) {
        const size_t at = low.rfind(word);
        if (at == std::string::npos) continue;
        std::string_view target = trim(rest->substr(at + std::string_view(word).size()));
        for (const char* filler : {"the", "a", "file"})
            if (const auto next = after_word(target, filler)) target = *next;
        const auto path = one_path(target);
        const std::string_view text = unquoted(rest->substr(0, at));
        if (path && !text.empty()) return DemoStep{DemoStep::Kind::Write, *path, std::string(text)};
    }
    return {};
}

// Letters and digits in lower case, all else one blank; a blank at both ends.
std::string plain_words(std::string_view text) {
    std::string out = " ";
    for (const char c : lower(text)) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80) != 0;
        if (letter)
            out += c;
        else if (out.back() != ' ')
            out += ' ';
    }
    if (out.back() != ' ') out += ' ';
    return out;
}

// The commands of all known words, in the order in which they were said, each once.
std::optional<DemoStep> words_step(std::string_view line) {
    const std::string words = plain_words(line);
    std::vector<std::pair<size_t, const char*>> found;
    for (const Word& word : kWords) {
        const size_t at = words.find(" " + std::string(word.said) + " ");
        if (at != std::string::npos) found.emplace_back(at, word.command);
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<const char*> commands;
    for (const auto& [at, command] : found)
        if (std::find(commands.begin(), commands.end(), command) == commands.end())
            commands.push_back(command);
    if (commands.empty()) return {};
    DemoStep step;
    for (const char* command : commands) {
        if (!step.subject.empty()) step.subject += "; ";
        step.subject += command;
    }
    return step;
}

std::optional<DemoStep> one_step(std::string_view text) {
    text = without_courtesy(trim(text));
    if (auto step = run_step(text)) return step;
    if (auto step = read_step(text)) return step;
    if (auto step = write_step(text)) return step;
    return words_step(text);
}

// "A then B" is two steps only when each part is one: "then" also stands in texts to be written.
std::vector<DemoStep> line_steps(std::string_view line) {
    if (auto step = run_step(line)) return {*step};
    std::vector<DemoStep> steps;
    std::string_view rest = line;
    const std::string low = lower(line);
    for (;;) {
        const size_t at = low.find(" then ", low.size() - rest.size());
        const size_t start = low.size() - rest.size();
        const bool last = at == std::string::npos;
        std::string_view part = last ? rest : rest.substr(0, at - start);
        part = trim(part, " \t\r\n,;");
        if (auto before = lower(part); before.ends_with(" and")) part.remove_suffix(4);
        auto step = one_step(part);
        if (!step) break;
        steps.push_back(*step);
        if (last) return steps;
        rest = rest.substr(at - start + 6);
    }
    const auto whole = one_step(line);
    return whole ? std::vector<DemoStep>{*whole} : std::vector<DemoStep>{};
}

}  // namespace

std::vector<DemoStep> demo_plan(const std::string& message) {
    constexpr size_t kMaxRead = size_t{64} << 10;  // more than a person types; the rest is ignored
    std::vector<DemoStep> steps;
    const std::string_view said = std::string_view(message).substr(0, message.rfind(kFolderLine));
    for (const std::string& line : split(said.substr(0, kMaxRead), '\n')) {
        for (DemoStep& step : line_steps(line)) {
            if (steps.size() == kMaxDemoSteps) return steps;
            steps.push_back(std::move(step));
        }
    }
    return steps;
}

}  // namespace peacrab
