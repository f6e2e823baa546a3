// Gets the VM of a machine to run: chooses its accelerator, launches it, and tries once more, or in
// another way, when it does not come up. What it prints goes to the logs, and is its sign of life.
// Knows nothing of the guest but that.
#pragma once

#include <chrono>
#include <string>

#include "gateway_prepare.h"
#include "loop.h"

namespace peacrab {

class GatewayBoot {
  public:
    using Clock = std::chrono::steady_clock;
    class Owner {
      public:
        virtual ~Owner() = default;
        virtual void boot_says(const std::string& text) = 0;  // to who waits for it
        // A VM runs, and its guest is yet to say hello on `link`. Throws Error.
        virtual void vm_launched(UniqueFd link) = 0;
        virtual void vm_dropped() = 0;  // another one follows
        virtual void vm_ended(const ChildExit& exit) = 0;
        virtual void boot_given_up(const std::string& why) = 0;
    };
    // `prepared` is the owner's, and outlives this.
    GatewayBoot(Loop& loop, Prepared& prepared, MachineDriver& driver, const std::string& accelerator_cache,
                Owner& owner);
    ~GatewayBoot() { drop(); }
    GatewayBoot(const GatewayBoot&) = delete;
    GatewayBoot& operator=(const GatewayBoot&) = delete;

    void begin();
    void alive();  // a sign of life: the silence begins anew
    void failed(BootFailure failure, const std::string& why);
    void watch_no_more();  // it is up, or is to end
    void terminate();
    void drop();  // kills it

    const Verdict& verdict() const { return verdict_; }
    const MachineSpec& spec() const { return spec_; }
    pid_t pid() const { return machine_.process ? machine_.process.pid() : 0; }
    Clock::duration age() const { return Clock::now() - launched_; }

  private:
    void decide_accelerator();
    void fill_spec();
    void launch();
    void watch_output(UniqueFd& fd, void (GatewayBoot::*took)(std::string_view));
    bool read_output(UniqueFd& fd, void (GatewayBoot::*took)(std::string_view));
    void from_console(std::string_view bytes);
    void from_vmm(std::string_view bytes);
    void process_ended();

    Loop& loop_;
    Prepared& prepared_;
    MachineDriver& driver_;
    Owner& owner_;
    BoundedLog console_log_;
    Verdict verdict_;
    AcceleratorOptions accelerator_;
    MachineSpec spec_;
    BootAttempt attempt_;
    Machine machine_;
    bool watched_ = false;
    Loop::TimerId silence_ = 0;
    Loop::TimerId whole_ = 0;
    Clock::time_point launched_ = Clock::now();
    std::string words_;  // of the VMM's stderr, the last
};

std::string in_seconds(GatewayBoot::Clock::duration span);  // "1.5 s"

}  // namespace peacrab
