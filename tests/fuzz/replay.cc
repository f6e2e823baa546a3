// Runs one fuzz target over files and folders of inputs, without a fuzzer: what the repository keeps must not
// bring back what was mended. A target that disagrees aborts, and the input it ran is named before.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void run(const std::filesystem::path& file) {
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    std::ifstream stream(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int count, char** names) {
    int ran = 0;
    for (int i = 1; i < count; ++i) {
        if (!std::filesystem::is_directory(names[i])) {
            run(names[i]);
            ++ran;
            continue;
        }
        for (const auto& entry : std::filesystem::directory_iterator(names[i])) {
            run(entry.path());
            ++ran;
        }
    }
    std::printf("%d inputs\n", ran);
    return ran > 0 ? 0 : 1;
}
