// Lines are changed, never the tree written out: what is not touched stays byte for byte. The tree
// says where a line is, and afterwards whether the change was the one that was meant: the wanted tree
// is made beside the text, and both must agree. So a layout nobody thought of ends in a refusal, not
// in a damaged file. Must not know what a key means.
#include "config_edit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

using yaml::Node;
using Kind = Node::Kind;
using Layout = Node::Layout;

constexpr size_t kIndent = 2;

UniqueFd lock_folder(const std::string& folder) {
    make_directories(folder);
    UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) throw ErrnoError("config: " + folder);
    while (::flock(fd.get(), LOCK_EX) < 0)
        if (errno != EINTR) throw ErrnoError("config: lock " + folder);
    return fd;
}

Node text_node(const std::string& text) {
    Node node;
    node.kind = Kind::Text;
    node.text = text;
    return node;
}

// The bytes before the character `column`.
size_t byte_of(const std::string& line, size_t column) {
    size_t byte = 0;
    while (column-- > 0 && byte < line.size()) byte += std::max<size_t>(1, utf8_length(std::string_view(line).substr(byte)));
    return byte;
}

// Letters and digits with what is not special between them, and nothing that ends a plain value.
bool is_plain(const std::string& text) {
    if (text.empty() || text.back() == ' ' || text.back() == ':') return false;
    const auto letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (!letter(text[0]) && text[0] != '/') return false;
    if (text.find(": ") != std::string::npos) return false;
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return letter(c) || std::string_view(" ._/:>@+-").find(c) != std::string_view::npos;
    });
}

Node* find_at(Node& root, const ConfigEdit::Path& path) {
    Node* node = &root;
    for (const std::string& key : path)
        if (!(node = node->find(key))) return nullptr;
    return node;
}

// The tree with the wanted value at `path`.
Node with_value(Node root, const ConfigEdit::Path& path, const std::string* value) {
    Node* node = &root;
    for (const std::string& key : path) {
        if (node->kind == Kind::Null) node->kind = Kind::Map;
        if (node->kind != Kind::Map)
            throw Error(at(*node) + "`key: value` lines were expected here");
        if (!node->find(key)) node->entries.push_back({text_node(key), Node()});
        node = node->find(key);
    }
    if (value) *node = text_node(*value);
    return root;
}

const Node& key_of(const Node& parent, const std::string& key) {
    for (const auto& [name, value] : parent.entries)
        if (name.text == key) return name;
    throw Error("config: " + key + ": absent");
}

}  // namespace

std::string yaml_value(const std::string& value, size_t indent) {
    for (const char c : value)
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f)
            throw Error("config: control byte in a value");
    if (value.find('\n') == std::string::npos) {
        if (is_plain(value)) return value;
        // In single quotes nothing is special but the quote itself (YAML 1.2, 7.3.2).
        std::string out = "'";
        for (const char c : value) out += c == '\'' ? "''" : std::string(1, c);
        return out + "'";
    }
    // The number: how deep the text is, or spaces in front of its first line would count.
    std::string out = "|" + std::to_string(kIndent);
    out += value.back() != '\n' ? "-" : value.ends_with("\n\n") ? "+" : "";
    std::string_view body = value;
    if (body.ends_with('\n')) body.remove_suffix(1);
    for (const std::string& line : split(body, '\n'))
        out += "\n" + (line.empty() ? "" : std::string(indent + kIndent, ' ') + line);
    return out;
}

ConfigEdit::ConfigEdit(std::string path)
    // Behind links: a rename would replace the link.
    : path_(real_path(path).value_or(path)), lock_(lock_folder(path_.substr(0, path_.rfind('/')))) {
    text_ = read_file_if_exists(path_, kMaxConfig).value_or("");
    (void)parse_config(text_, path_);  // says what is wrong better than an edit could
    root_ = yaml::parse(text_);
    if (text_.find("\r\n") != std::string::npos) line_end_ = "\r\n";
    lines_ = split(text_, '\n');
    for (std::string& line : lines_)
        if (line.ends_with('\r')) line.pop_back();
    if (lines_.back().empty()) lines_.pop_back();
}

// The one way a change becomes ours.
void ConfigEdit::accept(const Node& wanted, size_t line) {
    std::string text;
    for (const std::string& each : lines_) text += each + line_end_;
    Node read;
    std::string why = "it would change more than that";
    try {
        read = yaml::parse(text);
    } catch (const Error& error) {
        why = error.what();
    }
    if (!read.same(wanted))
        throw Error(path_ + ": near line " + std::to_string(line + 1) +
                    ": this layout can only be edited by hand (" + why + ")");
    text_ = std::move(text);
    root_ = std::move(read);
}

void ConfigEdit::insert_lines(size_t at, const Lines& lines) {
    lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(std::min(at, lines_.size())),
                  lines.begin(), lines.end());
}

// And the comments behind them that stand deeper than `column`: they belong to what goes.
void ConfigEdit::erase_lines(size_t first, size_t last, size_t column) {
    size_t end = last + 1;
    for (size_t i = end; i < lines_.size(); ++i) {
        const size_t start = lines_[i].find_first_not_of(' ');
        if (start == std::string::npos) continue;
        if (lines_[i][start] != '#' || start <= column) break;
        end = i + 1;
    }
    lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(first),
                 lines_.begin() + static_cast<std::ptrdiff_t>(std::min(end, lines_.size())));
}

void ConfigEdit::open_brackets(const Node& node) {
    if (node.layout != Layout::Flow) return;
    if (!node.entries.empty() || !node.items.empty() || node.line != node.last_line)
        throw Error(path_ + ": line " + std::to_string(node.line + 1) +
                    ": what is written in brackets can only be edited by hand");
    std::string& line = lines_[node.line];
    const size_t first = byte_of(line, node.column);
    line.erase(first, byte_of(line, node.end_column) - first);
    while (line.ends_with(' ')) line.pop_back();
}

void ConfigEdit::replace_value(const Node& key, const Node& value, const std::string& text) {
    const std::string written = yaml_value(text, key.column);
    const bool one_line = value.kind == Kind::Text && value.layout == Layout::Line &&
                          value.line == value.last_line && value.line == key.line &&
                          written.find('\n') == std::string::npos;
    if (one_line) {  // what stands behind it, a comment, stays
        std::string& line = lines_[value.line];
        const size_t first = byte_of(line, value.column);
        line.replace(first, byte_of(line, value.end_column) - first, written);
        return;
    }
    const std::string name = lines_[key.line].substr(0, byte_of(lines_[key.line], key.end_column));
    erase_lines(key.line, value.last_line, key.column);
    insert_lines(key.line, split(name + ": " + written, '\n'));
}

// The first `known` keys of `path` are there, and lead to `parent`; the others are made.
void ConfigEdit::insert_below(const Path& path, size_t known, const Node& parent,
                              const std::string* value) {
    size_t indent = parent.column, at = parent.last_line + 1;
    if (parent.kind != Kind::Map || parent.entries.empty()) {
        open_brackets(parent);
        indent = 0;
        at = lines_.size();
        if (known > 0) {
            Node above = root_;
            for (size_t i = 0; i + 1 < known; ++i) above = Node(*above.find(path[i]));
            const Node key = key_of(above, path[known - 1]);
            indent = key.column + kIndent;
            at = std::max(key.line, parent.last_line) + 1;
        }
    } else if (parent.layout == Layout::Flow) {
        open_brackets(parent);  // not empty: refuses
    }
    std::string text;
    for (size_t i = known; i < path.size(); ++i, indent += kIndent) {
        text += (i > known ? "\n" : "") + std::string(indent, ' ') + yaml_value(path[i], indent) + ":";
        if (i + 1 == path.size() && value) text += " " + yaml_value(*value, indent);
    }
    insert_lines(at, split(text, '\n'));
}

void ConfigEdit::put(const Path& path, const std::string* value) {
    const Node wanted = with_value(root_, path, value);
    const Lines before = lines_;
    const Node* node = &root_;
    const Node* parent = &root_;
    size_t known = 0;
    for (; known < path.size(); ++known) {
        const Node* next = node->find(path[known]);
        if (!next) break;
        parent = node;
        node = next;
    }
    const size_t line = node->line;
    try {
        if (known < path.size()) {
            insert_below(path, known, *node, value);
        } else if (value) {
            if (node->kind == Kind::Map || node->kind == Kind::List)
                throw Error(path_ + ": line " + std::to_string(line + 1) +
                            ": a plain value was expected there");
            replace_value(key_of(*parent, path.back()), *node, *value);
        }
        accept(wanted, line);
    } catch (const Error&) {
        lines_ = before;
        throw;
    }
}

void ConfigEdit::set(const Path& path, const std::string& value) {
    const Node* there = find_at(root_, path);
    if (there && there->kind == Kind::Text && there->text == value) return;
    put(path, &value);
}

void ConfigEdit::make(const Path& path) {
    if (!find_at(root_, path)) put(path, nullptr);
}

bool ConfigEdit::remove(const Path& path) {
    Path above(path.begin(), path.end() - 1);
    const Node* parent = find_at(root_, above);
    const Node* node = parent ? parent->find(path.back()) : nullptr;
    if (!node) return false;
    if (parent->layout == Layout::Flow)
        throw Error(path_ + ": line " + std::to_string(node->line + 1) +
                    ": what is written in brackets can only be edited by hand");
    Node wanted = root_;
    std::erase_if(find_at(wanted, above)->entries,
                  [&](const auto& entry) { return entry.first.text == path.back(); });
    const Node key = key_of(*parent, path.back());
    const Lines before = lines_;
    erase_lines(key.line, std::max(key.line, node->last_line), key.column);
    try {
        accept(wanted, key.line);
    } catch (const Error&) {
        lines_ = before;
        throw;
    }
    return true;
}

bool ConfigEdit::add(const std::string& key, const std::string& item) {
    make({key});
    const Node list = *root_.find(key);
    if (list.kind == Kind::Text || list.kind == Kind::Map)
        throw Error(path_ + ": " + at(list) + key + ": a list was expected");
    for (const Node& each : list.items)
        if (each.text == item) return false;
    Node wanted = root_;
    wanted.find(key)->kind = Kind::List;
    wanted.find(key)->items.push_back(text_node(item));
    const Lines before = lines_;
    const Node name = key_of(root_, key);
    try {
        open_brackets(list);
        const bool fresh = list.items.empty();
        const size_t indent = fresh ? name.column + kIndent : list.column;
        const size_t after = fresh ? std::max(name.line, list.last_line) : list.last_line;
        insert_lines(after + 1, {std::string(indent, ' ') + "- " + yaml_value(item, indent)});
        accept(wanted, name.line);
    } catch (const Error&) {
        lines_ = before;
        throw;
    }
    return true;
}

bool ConfigEdit::take(const std::string& key, const std::string& item) {
    const Node* list = root_.find(key);
    if (!list) return false;
    const auto found = std::find_if(list->items.begin(), list->items.end(),
                                    [&](const Node& each) { return each.text == item; });
    if (found == list->items.end()) return false;
    if (list->layout == Layout::Flow)
        throw Error(path_ + ": " + at(*found) +
                    "what is written in brackets can only be edited by hand");
    Node wanted = root_;
    std::vector<Node>& items = wanted.find(key)->items;
    items.erase(items.begin() + (found - list->items.begin()));
    const Lines before = lines_;
    const size_t line = found->line;
    erase_lines(line, found->last_line, list->column);
    try {
        accept(wanted, line);
    } catch (const Error&) {
        lines_ = before;
        throw;
    }
    return true;
}

Config ConfigEdit::save() {
    Config config = parse_config(text_, path_);
    struct stat status {};
    const mode_t mode = ::stat(path_.c_str(), &status) == 0 ? status.st_mode & 07777 : 0600;
    write_file_atomic(path_, text_, mode);
    return config;
}

}  // namespace peacrab
