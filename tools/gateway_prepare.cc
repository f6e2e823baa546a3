// Each step says by itself what is wrong and what to do. Nothing is started here, and of the state disk
// nothing is changed that is there already.
#include "gateway_prepare.h"

#include "egress_preset.h"

namespace peacrab {

Prepared prepare(const MachineOptions& flags, const MachinePlace& place, UniqueFd lock,
                 const std::string& image_folder, const MachineDriver& driver) {
    Prepared prepared{place, {}, std::move(lock), {}, {}, BoundedLog(place.gateway_log, MiB(2))};
    prepared.log.take_stderr();
    write_own_preset();  // before the configuration is read
    prepared.options = with_config(flags, load_config(config_file()));
    if (!prepared.options.memory.count) prepared.options.memory = kDefaultMemory;
    driver.program();
    prepared.image = image_folder.empty() ? current_image() : load_image(image_folder);
    check_cpus(prepared.options.cpus, host_cpus());
    check_memory(prepared.options.memory, available_memory());
    prepared.options.memory.count &= ~uint64_t{(1 << 20) - 1};
    check_disk(place.folder, free_space(place.folder));
    prepared.disk = prepare_state_disk(place, flags.disk, prepared.options.disk);
    return prepared;
}

}  // namespace peacrab
