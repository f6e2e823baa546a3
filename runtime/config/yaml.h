// A small YAML file as a tree that knows its lines: what a reader checks by table, and what an edit
// needs to change one line and leave the others alone (tools/config_edit.h).
//
// Refused: more than kMaxDepth levels or kMaxNodes values, a key twice, an alias, an anchor, a tag,
// a second document, bytes that are not UTF-8, line ends that are not `\n` or `\r\n`. Source: https://yaml.org/spec/1.1/, libyaml's yaml.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace peacrab::yaml {

struct Entry;

struct Node {
    enum class Kind { Null, Text, Map, List } kind = Kind::Null;
    // How it is written. Line: text on one line or more, plain or quoted; Block: text behind | or >,
    // and maps and lists by indentation; Flow: in brackets.
    enum class Layout { Line, Block, Flow } layout = Layout::Line;
    std::string text;
    std::vector<Entry> entries;  // Map: keys are texts
    std::vector<Node> items;                     // List

    // From 0. Columns count characters. Of a list by indentation it is that of the dashes.
    size_t line = 0;
    size_t column = 0;
    size_t end_column = 0;  // Text: behind it, on last_line
    size_t last_line = 0;   // that holds any of it; trailing comments are not part of it

    const Node* find(const std::string& key) const;  // of a map; null: absent
    Node* find(const std::string& key);
    // The same values, wherever they stand. An empty map or list is like no value at all.
    bool same(const Node& other) const;
};

struct Entry {
    Node first;  // the key
    Node second;
};

constexpr int kMaxDepth = 6;
constexpr size_t kMaxNodes = 10'000;

// The one document of `text`; Null when it holds nothing but comments. Throws Error("line N: …").
Node parse(const std::string& text);

std::string at(const Node& node);  // "line 3: "

}  // namespace peacrab::yaml
