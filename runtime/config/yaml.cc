// libyaml's events into a tree. Everything that would make a second meaning of a line possible (an
// alias, a merge, a tag) is refused. Recursion is bounded by kMaxDepth, memory by kMaxNodes and the
// size of the text, which the caller bounds. Must not know what any key is for.
#include "config/yaml.h"

#include <yaml.h>

#include <algorithm>

#include "error.h"
#include "os.h"

namespace peacrab::yaml {
namespace {

// libyaml's parser with its memory.
class Events {
  public:
    explicit Events(const std::string& text) {
        if (!yaml_parser_initialize(&parser_)) throw Error("config: out of memory");
        yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                     text.size());
    }
    ~Events() {
        yaml_event_delete(&event_);
        yaml_parser_delete(&parser_);
    }
    Events(const Events&) = delete;
    Events& operator=(const Events&) = delete;
    const yaml_event_t& next() {
        yaml_event_delete(&event_);
        event_ = {};
        if (!yaml_parser_parse(&parser_, &event_))
            throw Error("line " + std::to_string(parser_.problem_mark.line + 1) + ": " +
                        (parser_.problem ? parser_.problem : "not YAML"));
        return event_;
    }

  private:
    yaml_parser_t parser_{};
    yaml_event_t event_{};
};

[[noreturn]] void refuse(const yaml_event_t& event, const std::string& why) {
    throw Error("line " + std::to_string(event.start_mark.line + 1) + ": " + why);
}

// How far the text of an entry reaches when its indentation says so: a | or > block.
class Lines {
  public:
    explicit Lines(const std::string& text) : lines_(split(text, '\n')) {}
    size_t last_deeper_than(size_t indent, size_t line) const {
        // "|+": the empty lines behind it are part of it.
        const size_t bar = lines_[line].find_last_of("|>");
        const bool keeps = bar != std::string::npos &&
                           lines_[line].find('+', bar) < lines_[line].find('#', bar);
        size_t last = line;
        while (++line < lines_.size()) {
            const size_t first = lines_[line].find_first_not_of(" \r");
            const bool blank = first == std::string::npos;
            if (!blank && first <= indent) break;
            if (!blank || (keeps && line + 1 < lines_.size())) last = line;
        }
        return last;
    }

  private:
    std::vector<std::string> lines_;
};

class Reader {
  public:
    explicit Reader(const std::string& text) : lines_(text), events_(text) {}

    Node document() {
        if (events_.next().type != YAML_STREAM_START_EVENT) throw Error("not YAML");
        if (events_.next().type == YAML_STREAM_END_EVENT) return {};  // nothing but comments
        Node root = node(events_.next(), 0, 0);
        events_.next();  // end of the document
        const yaml_event_t& end = events_.next();
        if (end.type != YAML_STREAM_END_EVENT) refuse(end, "one document was expected");
        return root;
    }

  private:
    // `indent` is the column of what holds it: a block's text is deeper.
    Node node(const yaml_event_t& event, size_t indent, int depth) {
        if (++nodes_ > kMaxNodes) refuse(event, "too much for a configuration");
        if (depth > kMaxDepth) refuse(event, "nested too deep");
        switch (event.type) {
            case YAML_SCALAR_EVENT:
                return scalar(event, indent);
            case YAML_MAPPING_START_EVENT:
                return map(event, depth);
            case YAML_SEQUENCE_START_EVENT:
                return list(event, depth);
            default:
                refuse(event, "a value was expected; `&` and `*` are not known here");
        }
    }

    static Node begin(const yaml_event_t& event, Node::Kind kind, const void* anchor,
                      const void* tag) {
        if (anchor || tag) refuse(event, "`&` and `!` are not known here");
        Node node;
        node.kind = kind;
        node.line = node.last_line = event.start_mark.line;
        node.column = event.start_mark.column;
        return node;
    }

    Node scalar(const yaml_event_t& event, size_t indent) {
        const auto& data = event.data.scalar;
        const bool plain = data.style == YAML_PLAIN_SCALAR_STYLE;
        Node node = begin(event, plain && data.length == 0 ? Node::Kind::Null : Node::Kind::Text,
                          data.anchor, data.tag);
        node.text.assign(reinterpret_cast<const char*>(data.value), data.length);
        node.end_column = event.end_mark.column;
        node.last_line = event.end_mark.line;
        if (data.style == YAML_LITERAL_SCALAR_STYLE || data.style == YAML_FOLDED_SCALAR_STYLE) {
            node.layout = Node::Layout::Block;
            node.last_line = lines_.last_deeper_than(indent, node.line);
        }
        return node;
    }

    Node map(const yaml_event_t& event, int depth) {
        Node node = begin(event, Node::Kind::Map, event.data.mapping_start.anchor,
                          event.data.mapping_start.tag);
        const bool flow = event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
        node.layout = flow ? Node::Layout::Flow : Node::Layout::Block;
        for (;;) {
            const yaml_event_t& next = events_.next();
            if (next.type == YAML_MAPPING_END_EVENT) return end(std::move(node), next);
            if (next.type != YAML_SCALAR_EVENT) refuse(next, "`key: value` was expected");
            Node key = this->node(next, node.column, depth + 1);
            if (node.find(key.text))
                throw Error(at(key) + "`" + printable(key.text) + "` stands twice");
            Node value = this->node(events_.next(), node.column, depth + 1);
            if (value.kind == Node::Kind::Null) value.last_line = key.last_line;
            node.last_line = std::max(node.last_line, value.last_line);
            node.entries.push_back({std::move(key), std::move(value)});
        }
    }

    Node list(const yaml_event_t& event, int depth) {
        Node node = begin(event, Node::Kind::List, event.data.sequence_start.anchor,
                          event.data.sequence_start.tag);
        const bool flow = event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
        node.layout = flow ? Node::Layout::Flow : Node::Layout::Block;
        for (;;) {
            const yaml_event_t& next = events_.next();
            if (next.type == YAML_SEQUENCE_END_EVENT) return end(std::move(node), next);
            node.items.push_back(this->node(next, node.column, depth + 1));
            node.last_line = std::max(node.last_line, node.items.back().last_line);
        }
    }

    static Node end(Node node, const yaml_event_t& event) {
        if (node.layout != Node::Layout::Flow) return node;
        node.last_line = event.end_mark.line;
        node.end_column = event.end_mark.column;
        return node;
    }

    Lines lines_;
    Events events_;
    size_t nodes_ = 0;
};

bool holds_nothing(const Node& node) {
    return node.kind != Node::Kind::Text && node.entries.empty() && node.items.empty();
}

}  // namespace

const Node* Node::find(const std::string& key) const {
    for (const auto& [name, value] : entries)
        if (name.text == key) return &value;
    return nullptr;
}

Node* Node::find(const std::string& key) {
    return const_cast<Node*>(std::as_const(*this).find(key));
}

bool Node::same(const Node& other) const {
    if (holds_nothing(*this) || holds_nothing(other))
        return holds_nothing(*this) && holds_nothing(other);
    const auto same_entry = [](const auto& a, const auto& b) {
        return a.first.text == b.first.text && a.second.same(b.second);
    };
    return kind == other.kind && text == other.text &&
           std::equal(entries.begin(), entries.end(), other.entries.begin(), other.entries.end(),
                      same_entry) &&
           std::equal(items.begin(), items.end(), other.items.begin(), other.items.end(),
                      [](const Node& a, const Node& b) { return a.same(b); });
}

namespace {

// Whoever counts lines here, or edits one, counts `\n`. libyaml has five ends of a line.
void require_plain_line_ends(const std::string& text) {
    for (const std::string_view other : {"\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
        for (size_t i = text.find(other); i != std::string::npos; i = text.find(other, i + 1)) {
            if (other == "\r" && text.compare(i, 2, "\r\n") == 0) continue;
            const auto line = std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(i), '\n') + 1;
            throw Error("line " + std::to_string(line) +
                        ": holds a line end that editors do not show (a carriage return, U+0085, U+2028 or U+2029)");
        }
}

}  // namespace

Node parse(const std::string& text) {
    require_plain_line_ends(text);
    return Reader(text).document();
}

std::string at(const Node& node) {
    return "line " + std::to_string(node.line + 1) + ": ";
}

}  // namespace peacrab::yaml
