// Lines: in front of each stand the marks of the containers it is in; between leaves there is an empty line, or in a
// list written without them, none.
#include "messaging/flow.h"

#include <algorithm>
#include <utility>

#include "messaging/graphemes.h"

namespace peacrab {
namespace {

using Kind = Atom::Kind;
using Cut = Atom::Cut;

class Layout {
  public:
    Layout(const Markdown& tree, std::string& plain, std::vector<Atom>& atoms)
        : tree_(tree), plain_(plain), atoms_(atoms), begun_(tree.containers.size()) {}

    void run() {
        for (uint32_t i = 0; i < tree_.leaves.size(); ++i) {
            if (!atoms_.empty()) between(tree_.leaves[i].within);
            leaf_ = i;
            path_ = tree_.path(tree_.leaves[i].within);
            begin_line();
            leaf();
        }
        trim();
        mark_cuts();
        settle_edges();
    }

  private:
    void put(Kind kind, std::string_view text, uint8_t style = 0, uint32_t link = kNone) {
        atoms_.push_back(
            {.at = static_cast<uint32_t>(plain_.size()), .leaf = leaf_, .link = link, .kind = kind, .style = style});
        plain_ += text;
    }

    // The marks in front of a line; an item's own only once, later its lines are indented.
    void begin_line() {
        for (const uint32_t id : path_) {
            const MarkdownContainer& container = tree_.containers[id];
            if (container.quote()) {
                put(Kind::Quote, "> ");
            } else if (!begun_[id]) {
                begun_[id] = true;
                std::string mark = "• ";
                if (container.number != kNone) mark = std::to_string(container.number) + ". ";
                if (container.task) mark = container.task == ' ' ? "☐ " : "☑ ";
                put(Kind::Marker, mark);
            } else {
                put(Kind::Marker, "  ");
            }
        }
    }

    // How the leaf before and one that is in `within` are parted.
    void between(uint32_t within) {
        const std::vector<uint32_t> next = tree_.path(within);
        size_t common = 0;
        while (common < next.size() && common < path_.size() && next[common] == path_[common]) ++common;
        // Two items of one list, or two leaves of one item.
        const auto tight = [&](size_t level) {
            return level < next.size() && level < path_.size() && !tree_.containers[next[level]].quote() &&
                   tree_.containers[next[level]].list == tree_.containers[path_[level]].list &&
                   tree_.containers[next[level]].tight;
        };
        leaf_ = kNone;
        put(Kind::Line, "\n");
        if (tight(common) || (common > 0 && tight(common - 1))) return;
        size_t quotes = common;
        while (quotes > 0 && !tree_.containers[next[quotes - 1]].quote()) --quotes;
        for (size_t i = 0; i < quotes; ++i) {
            const bool quote = tree_.containers[next[i]].quote();
            put(quote ? Kind::Quote : Kind::Marker, !quote ? "  " : i + 1 == quotes ? ">" : "> ");
        }
        put(Kind::Line, "\n");
    }

    void leaf() {
        const MarkdownLeaf& leaf = tree_.leaves[leaf_];
        if (leaf.kind == MarkdownLeaf::Kind::Rule) return put(Kind::Text, "———");
        uint32_t link = kNone;
        for (const MarkdownRun& run : leaf.runs) {
            if (run.link != link) end_link(link);
            link = run.link;
            this->run(run);
        }
        end_link(link);
    }
    void run(const MarkdownRun& run) {
        // What has a backtick in it cannot be code everywhere.
        const bool ticked = (run.style & kCode) && run.text.find('`') != std::string::npos;
        const bool heading = tree_.leaves[leaf_].kind == MarkdownLeaf::Kind::Heading;
        uint8_t style = static_cast<uint8_t>(run.style | (ticked ? kTicked : 0) | (heading ? kHeading : 0));
        // Beside an address a mark would be taken for a part of it.
        const bool address =
            (run.link != kNone && tree_.links[run.link].shown) || run.text.find("://") != std::string::npos;
        if (address && !(style & kCode)) style = 0;
        const std::string_view text = run.text;
        for (size_t at = 0; at < text.size();) {
            const size_t length = grapheme_length(text.substr(at));
            const char c = text[at];
            if (c == '\n') {
                put(Kind::Line, "\n", style, run.link);
                begin_line();
            } else {
                put(c == ' ' || c == '\t' ? Kind::Blank : Kind::Text, text.substr(at, length), style, run.link);
            }
            at += length;
        }
    }
    void end_link(uint32_t id) {
        if (id == kNone || tree_.links[id].shown || tree_.links[id].address.empty()) return;
        const std::string_view address = tree_.links[id].address;
        put(Kind::Tail, " ", 0, id);
        put(Kind::Tail, "(", 0, id);
        for (size_t at = 0; at < address.size();) {
            const size_t length = grapheme_length(address.substr(at));
            put(Kind::Tail, address.substr(at, length), 0, id);
            at += length;
        }
        put(Kind::Tail, ")", 0, id);
    }

    // Neither before nor behind all of it is there anything that cannot be seen.
    void trim() {
        const auto nothing = [&](const Atom& atom) { return atom.kind == Kind::Blank || atom.kind == Kind::Line; };
        const auto before_nothing = [&](const Atom& last) {
            return last.kind == Kind::Quote ||
                   (last.kind == Kind::Marker && plain_.find_first_not_of(' ', last.at) == std::string::npos);
        };
        while (!atoms_.empty() && (nothing(atoms_.back()) || before_nothing(atoms_.back()))) {
            plain_.resize(atoms_.back().at);
            atoms_.pop_back();
        }
        size_t first = 0;
        for (size_t i = 0; i < atoms_.size() && nothing(atoms_[i]); ++i)
            if (atoms_[i].kind == Kind::Line) first = i + 1;
        if (first) {
            const uint32_t gone = first < atoms_.size() ? atoms_[first].at : static_cast<uint32_t>(plain_.size());
            plain_.erase(0, gone);
            atoms_.erase(atoms_.begin(), atoms_.begin() + static_cast<std::ptrdiff_t>(first));
            for (Atom& atom : atoms_) atom.at -= gone;
        }
        leaf_ = kNone;
        put(Kind::Line, "");
    }

    bool ends_sentence(size_t i) const {
        static constexpr std::string_view kStops[] = {".", "!", "?", "…", "。", "！", "？"};
        static constexpr std::string_view kClosing[] = {")", "\"", "'", "”", "’", "»", "]"};
        const auto is = [&](size_t at, const auto& list) {
            const size_t first = atoms_[at].at;
            const std::string_view text = std::string_view(plain_).substr(first, atoms_[at + 1].at - first);
            return std::find(std::begin(list), std::end(list), text) != std::end(list);
        };
        for (int steps = 0; i > 0 && steps < 3 && is(i - 1, kClosing); ++steps) --i;
        return i > 0 && is(i - 1, kStops);
    }
    bool within_address(const Atom& before, const Atom& atom) const {
        if (atom.link == kNone || before.link != atom.link) return false;
        return before.kind == Kind::Tail || tree_.links[atom.link].shown;
    }
    void mark_cuts() {
        for (size_t i = 1; i + 1 < atoms_.size(); ++i) {
            Atom& atom = atoms_[i];
            const Atom& before = atoms_[i - 1];
            const bool starts_line = atom.kind == Kind::Line || before.kind == Kind::Line;
            if (starts_line)
                atom.cut =
                    atom.leaf == kNone || before.leaf == kNone || (atom.kind == Kind::Line && before.kind == Kind::Line)
                        ? Cut::Paragraph
                        : Cut::Line;
            else if (within_address(before, atom) || before.kind == Kind::Quote || before.kind == Kind::Marker ||
                     atom.kind == Kind::Quote || atom.kind == Kind::Marker)
                atom.cut = Cut::Never;
            else if (atom.kind == Kind::Blank)
                atom.cut = before.kind != Kind::Blank && ends_sentence(i) ? Cut::Sentence : Cut::Word;
            else if (before.kind == Kind::Blank)
                atom.cut = Cut::Word;
            else if (atom.kind == Kind::Tail && before.kind != Kind::Tail)
                atom.cut = Cut::Word;
        }
    }

    // A style begins and ends at a letter: messengers that know it by marks look for those beside one, and take marks
    // that belong to the text for the end of it.
    void settle_edges() {
        const auto through = [&](const Atom& atom) {
            if (atom.style & kCode) return false;
            if (atom.kind == Kind::Blank || atom.kind == Kind::Quote || atom.kind == Kind::Marker) return true;
            return atom.kind == Kind::Text && std::string_view("*_~").find(plain_[atom.at]) != std::string_view::npos;
        };
        const auto around = [](const Atom& atom) -> uint8_t {  // code has no other style
            return atom.kind == Kind::Line || (atom.style & kCode) ? 0 : atom.style;
        };
        uint8_t before = 0;
        std::vector<uint8_t> left(atoms_.size());
        for (size_t i = 0; i < atoms_.size(); ++i) {
            before = through(atoms_[i]) ? before & atoms_[i].style : around(atoms_[i]);
            left[i] = before;
        }
        uint8_t behind = 0;
        for (size_t i = atoms_.size(); i-- > 0;) {
            Atom& atom = atoms_[i];
            const bool edge = through(atom);
            behind = edge ? behind & atom.style : around(atom);
            if (edge) atom.style = left[i] & behind;
        }
    }

    const Markdown& tree_;
    std::string& plain_;
    std::vector<Atom>& atoms_;
    std::vector<bool> begun_;  // items whose mark is written
    uint32_t leaf_ = kNone;
    std::vector<uint32_t> path_;  // of the leaf
};

}  // namespace

Flow::Flow(Markdown tree) : markdown(std::move(tree)) {
    Layout(markdown, plain, atoms).run();
}

}  // namespace peacrab
