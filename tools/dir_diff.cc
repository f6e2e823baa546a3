// Contents are hostile: diff runs as the person on files of ours, without a shell, and what it says
// is passed on line by line.
#include "dir_diff.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

#include "error.h"
#include "spawn.h"

namespace peacrab {
namespace {

constexpr uint64_t kMaxShown = uint64_t{16} << 20;  // a larger file is named, as a binary one
constexpr size_t kSniff = 8000;                     // as git

bool looks_binary(int file) {
    std::array<char, kSniff> bytes;
    const size_t n = read_some(file, bytes).value_or(0);
    ::lseek(file, 0, SEEK_SET);
    return std::find(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n), '\0') !=
           bytes.begin() + static_cast<std::ptrdiff_t>(n);
}

const char* mode_of(const Listed& entry) {
    if (entry.kind == Listed::Kind::Link) return "120000";
    return entry.kind == Listed::Kind::Program ? "100755" : "100644";
}

// One side of a comparison. A link's is what it points to.
UniqueFd side(DirState& state, const MaybeListed& entry) {
    if (!entry) return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (entry->file()) return state.contents(entry->hash);
    DirState::Incoming text(state);
    text.write(entry->target);
    return state.contents(text.done(Listed::Kind::File).hash);
}

class Shown {
  public:
    Shown(FILE* to, DirState& state, DiffForm form) : to_(to), state_(state), form_(form) {
        program_ = find_program("diff");
        if (program_.empty()) throw Error("diff: the program `diff` is missing; install diffutils");
    }
    void one(const Changed& change) {
        const auto file = [](const MaybeListed& entry) {
            return entry && entry->kind != Listed::Kind::Folder ? entry : std::nullopt;
        };
        const MaybeListed was = file(change.was), now = file(change.now);
        if (!was && !now) return;
        old_name_ = was ? quoted_name("a/" + change.path) : "/dev/null";
        new_name_ = now ? quoted_name("b/" + change.path) : "/dev/null";
        added_ = removed_ = 0;
        binary_ = false;
        header(change.path, was, now);
        compare(was, now);
        if (form_.what != DiffForm::What::Stat) return;
        const std::string name = quoted_name(change.path);
        if (binary_) std::fprintf(to_, "     binary  %s\n", name.c_str());
        else std::fprintf(to_, "%+5ld %+5ld  %s\n", added_, -removed_, name.c_str());
    }

  private:
    void line(std::string_view text) {
        if (form_.what == DiffForm::What::Stat) return;
        const std::string out =
            form_.bytes == DiffForm::Bytes::Escaped ? printable(text) : std::string(text);
        std::fwrite(out.data(), 1, out.size(), to_);
    }
    void header(const std::string& path, const MaybeListed& was, const MaybeListed& now) {
        line("diff --git " + quoted_name("a/" + path) + " " + quoted_name("b/" + path) + "\n");
        if (!was) return line(std::string("new file mode ") + mode_of(*now) + "\n");
        if (!now) return line(std::string("deleted file mode ") + mode_of(*was) + "\n");
        if (was->kind == now->kind) return;
        line(std::string("old mode ") + mode_of(*was) + "\n");
        line(std::string("new mode ") + mode_of(*now) + "\n");
    }
    void compare(const MaybeListed& was, const MaybeListed& now) {
        const UniqueFd one = side(state_, was), other = side(state_, now);
        const auto large = [](const MaybeListed& entry) { return entry && entry->size > kMaxShown; };
        binary_ = large(was) || large(now) || looks_binary(one.get()) || looks_binary(other.get());
        if (binary_) return line("Binary files " + old_name_ + " and " + new_name_ + " differ\n");
        run(one.get(), other.get());
    }
    void run(int one, int other) {
        Pipe pipe = Pipe::make();
        SpawnOptions options;
        options.program = program_;
        options.arguments = {"diff",    "-a",       "-u", "--label",     old_name_,
                             "--label", new_name_, "--", "/dev/fd/3", "/dev/fd/4"};
        options.environment = {"LC_ALL=C"};
        options.descriptors = {{pipe.write.get(), 1}, {STDERR_FILENO, 2}, {one, 3}, {other, 4}};
        options.die_with_parent = true;
        Pidfd child = spawn(options);
        pipe.write.reset();
        std::array<char, 65536> bytes;
        std::string rest;
        while (const size_t n = read_some(pipe.read.get(), bytes).value_or(0)) {
            rest.append(bytes.data(), n);
            size_t at = 0;
            for (size_t end; (end = rest.find('\n', at)) != std::string::npos; at = end + 1)
                take(std::string_view(rest).substr(at, end + 1 - at));
            rest.erase(0, at);
        }
        const ChildExit exit = child.wait();
        if (exit.how != ChildExit::How::Exited || exit.code > 1)
            throw Error("diff: " + exit.describe());
    }
    void take(std::string_view text) {
        line(text);
        const bool name = text.starts_with("--- ") || text.starts_with("+++ ");
        if (name && names_left_-- > 0) return;
        if (text[0] == '+') ++added_;
        if (text[0] == '-') ++removed_;
    }
    FILE* to_;
    DirState& state_;
    DiffForm form_;
    std::string program_, old_name_, new_name_;
    long added_ = 0, removed_ = 0;
    int names_left_ = 2;
    bool binary_ = false;
};

}  // namespace

std::string quoted_name(const std::string& name) {
    std::string out;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n' || c == '\t' || c == '\r') {
            out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r";
        } else if (byte < 0x20 || byte >= 0x7f) {
            char octal[8];
            std::snprintf(octal, sizeof octal, "\\%03o", byte);
            out += octal;
        } else {
            out += c;
        }
    }
    return out == name ? name : '"' + out + '"';
}

void show_diff(FILE* to, DirState& state, const std::vector<Changed>& changes, DiffForm form) {
    for (const Changed& change : changes) Shown(to, state, form).one(change);
}

}  // namespace peacrab
