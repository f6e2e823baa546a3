// Values are checked here, names by the table.
#include "arguments.h"

#include <charconv>
#include <cstdio>

#include "model_route.h"

namespace peacrab {

bool knows(const char* flags, const std::string& flag) {
    for (const std::string& known : split(flags, ' '))
        if (known == flag) return true;
    return false;
}

void tell(const std::string& sentence) { std::fprintf(stderr, "peacrab: %s\n", sentence.c_str()); }

MachineOptions machine_options(const Arguments& arguments) {
    MachineOptions options;
    options.name = arguments.value("name", "default");
    try {
        machine_place(options.name);
        const std::string cpus = arguments.value("cpus");
        if (arguments.values.count("cpus")) {
            const auto [end, failure] =
                std::from_chars(cpus.data(), cpus.data() + cpus.size(), options.cpus);
            if (failure != std::errc() || end != cpus.data() + cpus.size() || options.cpus < 1 ||
                options.cpus > 256)
                throw UsageError("--cpus: a number from 1 to 256 was expected");
        }
        if (arguments.values.count("model-url")) (void)url_host(arguments.value("model-url"));
        if (arguments.values.count("memory")) options.memory = parse_size(arguments.value("memory"));
        if (arguments.values.count("disk")) options.disk = parse_size(arguments.value("disk"));
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    options.accelerator = arguments.value("accel");
    if (!knows("auto kvm tcg", options.accelerator) && !options.accelerator.empty())
        throw UsageError("--accel: auto, kvm or tcg was expected");
    options.model = arguments.value("model");
    options.model_url = arguments.value("model-url");
    options.dialect = arguments.value("dialect");
    return options;
}

}  // namespace peacrab
