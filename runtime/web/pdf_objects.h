// The objects of a PDF file, found by looking for them and not by its table, which is often wrong.
// Source: ISO 32000-1, 7.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct PdfValue {
    enum class Kind { Null, Number, Name, String, Array, Dict, Reference, Keyword, End } kind = Kind::Null;
    double number = 0;  // of a Reference: the object's
    std::string text;   // a Name without its slash, a String's bytes, a Keyword
    std::vector<PdfValue> items;  // of a Dict: name, value, name, value

    const PdfValue* find(std::string_view key) const;  // null: no Dict, or it has none
    bool is(Kind what) const { return kind == what; }
    bool is_name(std::string_view name) const { return kind == Kind::Name && text == name; }
    int64_t integer() const;  // 0 for what is none
};

// How much one file may make us do, whatever it says; throws Error beyond.
struct PdfBudget {
    size_t values = 4'000'000;  // and per 32 bytes that are passed over
    size_t inflated = size_t{64} << 20;
    void spend(size_t& from, size_t amount) const;
};

// Values and keywords, one after the other.
class PdfLexer {
  public:
    enum class References { Read, None };  // "7 0 R": of objects, not of a page's content
    PdfLexer(std::string_view bytes, PdfBudget& budget, References references = References::Read)
        : bytes_(bytes), budget_(&budget), references_(references) {}
    PdfValue next() { return value(0); }
    size_t at() const { return at_; }
    void skip_to(size_t at) { at_ = at; }

  private:
    PdfValue value(int depth);
    void skip_blank();
    void passed(size_t bytes) { budget_->spend(budget_->values, bytes / 32); }
    PdfValue number();
    PdfValue name();
    PdfValue literal();
    PdfValue hex();
    bool follows_reference(size_t& end) const;

    std::string_view bytes_;
    PdfBudget* budget_;
    References references_;
    size_t at_ = 0;
};

struct PdfPage {
    PdfValue dict;
    std::shared_ptr<const PdfValue> resources;  // its own, or what it inherits
};

class PdfFile {
  public:
    explicit PdfFile(std::string_view bytes);  // which outlives it; throws Error for what is too much
    bool encrypted() const { return encrypted_; }
    PdfValue object(int64_t id);                // Null: there is none
    PdfValue resolve(const PdfValue& value);    // what a reference leads to
    PdfValue value_of(const PdfValue& dict, std::string_view key);
    // A stream's bytes, decoded; "" for one in a form that is not read here.
    std::string stream(const PdfValue& reference);
    std::vector<PdfPage> pages();  // in their order
    PdfBudget& budget() { return budget_; }

  private:
    struct Place {
        size_t at = 0;
        int64_t within = -1;  // the number of an object stream, already decoded
    };
    void index();
    void index_stream(int64_t id, const PdfValue& dict);
    std::string decoded(const PdfValue& dict, size_t at);
    std::string_view raw(const PdfValue& dict, size_t at);

    std::string_view bytes_;
    bool encrypted_ = false;
    PdfBudget budget_;
    std::map<int64_t, Place> objects_;
    std::map<int64_t, std::string> streams_;  // decoded object streams
    int64_t catalog_ = -1;
    std::vector<int64_t> loose_pages_;  // for a file without a tree
};

}  // namespace peacrab
