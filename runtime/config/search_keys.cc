// Only names: which address and key go with one is its row's to say.
#include "config/search_keys.h"

#include "error.h"
#include "protocols/search_api.h"

namespace peacrab {

std::string search_service(const std::string& value) {
    if (search_api(value)) return value;
    std::string names;
    for (const SearchApi& api : search_apis()) names += (names.empty() ? "" : ", ") + std::string(api.name);
    throw Error("one of " + names + " was expected");
}

}  // namespace peacrab
