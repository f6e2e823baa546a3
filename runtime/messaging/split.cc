// What counts is the written form, and only writing it tells how long it is: the furthest end that fits is looked for
// by halving, the best place to cut in what fits.
#include "messaging/split.h"

#include <algorithm>

namespace peacrab {
namespace {

using Kind = Atom::Kind;
using Cut = Atom::Cut;

class Splitter {
  public:
    Splitter(const Flow& flow, DialectWriter& writer, const RenderStyle& style)
        : flow_(flow), writer_(writer), style_(style) {}

    std::vector<Piece> run() {
        std::vector<Piece> out;
        for (size_t at = skipped(0); at < flow_.size();) {
            const size_t next = end_from(at);
            const size_t end = without_blanks(at, next);
            if (says_something(at, end)) out.push_back({at, end});
            at = skipped(next);
        }
        return out;
    }

  private:
    bool fits(size_t from, size_t to) {
        const size_t plain = measured(writer_.again(from), style_.unit) + measured(flow_.text(from, to), style_.unit);
        if (plain > style_.limit) return false;
        writer_.write(from, to);
        return writer_.fits();
    }

    size_t end_from(size_t at) {
        size_t most = std::min(flow_.size(), at + style_.limit);
        if (writer_.line_by_line())
            for (size_t i = at + 1; i < most; ++i)
                if (flow_.atoms[i].kind == Kind::Line) most = i;
        if (fits(at, most)) return most == flow_.size() || writer_.line_by_line() ? most : best_cut(at, most);
        size_t good = at + 1, bad = most;
        while (bad - good > 1) {
            const size_t middle = good + (bad - good) / 2;
            (fits(at, middle) ? good : bad) = middle;
        }
        for (;;) {
            const size_t cut = best_cut(at, good);
            if (cut == at + 1 || fits(at, cut)) return cut;
            good = cut - 1;
        }
    }

    size_t best_cut(size_t at, size_t most) const {
        size_t found[6] = {};  // the last place of each kind
        for (size_t i = most; i > at; --i) {
            const Cut cut = writer_.hidden(i) ? Cut::Never : flow_.atoms[i].cut;
            size_t& place = found[static_cast<size_t>(cut)];
            if (place == 0) place = i;
        }
        const auto share = [&](Cut cut) {  // of what would fit that has to be used
            return cut == Cut::Paragraph ? (most - at) / 4 : cut >= Cut::Sentence ? (most - at) / 2 : 0;
        };
        for (size_t kind = 5; kind > 0; --kind)
            if (found[kind] > at + share(static_cast<Cut>(kind))) return found[kind];
        return most;
    }

    bool indentation(size_t i) const {
        return flow_.atoms[i].kind == Kind::Quote || (flow_.atoms[i].kind == Kind::Marker && flow_.text(i) == "  ");
    }
    // The next place that a piece may begin at.
    size_t skipped(size_t at) const {
        while (at < flow_.size()) {
            const Atom& atom = flow_.atoms[at];
            if (atom.kind == Kind::Line || (atom.kind == Kind::Blank && !flow_.verbatim(at))) {
                ++at;
                continue;
            }
            size_t next = at;
            while (next < flow_.size() && indentation(next)) ++next;
            if (next == at || next >= flow_.size() || flow_.atoms[next].kind != Kind::Line) break;
            at = next + 1;
        }
        return at;
    }
    size_t without_blanks(size_t from, size_t to) const {
        while (to > from) {
            const Atom& last = flow_.atoms[to - 1];
            const bool blank = last.kind == Kind::Line || (last.kind == Kind::Blank && !flow_.verbatim(to - 1)) ||
                               (last.leaf == kNone && last.kind != Kind::Text);
            if (!blank) break;
            --to;
        }
        return to;
    }
    bool says_something(size_t from, size_t to) const {
        for (size_t i = from; i < to; ++i)
            if (flow_.atoms[i].kind != Kind::Line && flow_.atoms[i].kind != Kind::Blank && !indentation(i)) return true;
        return false;
    }

    const Flow& flow_;
    DialectWriter& writer_;
    const RenderStyle& style_;
};

}  // namespace

std::vector<Piece> cut_into_pieces(const Flow& flow, DialectWriter& writer, const RenderStyle& style) {
    return Splitter(flow, writer, style).run();
}

}  // namespace peacrab
