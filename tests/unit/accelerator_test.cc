#include "accelerator.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "../support/folder.h"
#include "os.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

KvmFacts open_facts() {
    KvmFacts facts;
    facts.present = true;
    return facts;
}

KvmProbe finished(Microseconds loop) {
    KvmProbe probe;
    probe.end = KvmProbe::End::Finished;
    probe.loop = loop;
    return probe;
}

}  // namespace

TEST_CASE("accelerator: the zero value is software emulation") {
    CHECK(Verdict().accelerator == Accelerator::Tcg);
    CHECK(judge(open_facts(), KvmProbe()).accelerator == Accelerator::Tcg);
}

TEST_CASE("accelerator: without a device the facts decide") {
    const Verdict verdict = judge(KvmFacts(), finished(Microseconds(50)));
    CHECK(verdict.accelerator == Accelerator::Tcg);
    CHECK(verdict.decided_by == "facts");
    CHECK(verdict.reason.find("no /dev/kvm") != std::string::npos);
}

TEST_CASE("accelerator: a device that may not be opened names the group to join") {
    KvmFacts facts = open_facts();
    facts.open_error = EACCES;
    const Verdict verdict = judge(facts, KvmProbe());
    CHECK(verdict.accelerator == Accelerator::Tcg);
    CHECK(verdict.reason.find("only by root") != std::string::npos);
    facts.group_may = true;
    CHECK(judge(facts, KvmProbe()).reason.find("adduser $USER kvm") != std::string::npos);
}

TEST_CASE("accelerator: KVM is chosen only when its virtual CPU is fast") {
    CHECK(judge(open_facts(), finished(Microseconds(50))).accelerator == Accelerator::Kvm);
    CHECK(judge(open_facts(), finished(kProbeLimit)).accelerator == Accelerator::Kvm);
    const Verdict crawls = judge(open_facts(), finished(Microseconds(136'000)));
    CHECK(crawls.accelerator == Accelerator::Tcg);
    CHECK(crawls.decided_by == "probe");
    CHECK(crawls.reason.find("far too slowly") != std::string::npos);
    KvmProbe stuck;
    stuck.end = KvmProbe::End::Stuck;
    CHECK(judge(open_facts(), stuck).accelerator == Accelerator::Tcg);
    KvmProbe refused;
    refused.end = KvmProbe::End::Refused;
    refused.step = "create VM";
    refused.error = EBUSY;
    CHECK(judge(open_facts(), refused).reason.find("create VM") != std::string::npos);
}

TEST_CASE("accelerator: a device that is no KVM is refused by the probe, not a crash") {
    const KvmProbe probe = probe_kvm("/dev/null");
    CHECK(probe.end == KvmProbe::End::Refused);
    CHECK(std::string(probe.step) == "API version");
    CHECK(probe_kvm("/nonexistent").end == KvmProbe::End::Refused);
}

TEST_CASE("accelerator: a verdict is remembered, and forgotten when anything differs") {
    const Folder folder;
    AcceleratorOptions options;
    options.device = "/dev/null";
    options.vmm = "/bin/true";
    options.cache_file = folder.path + "/cache/accelerator.json";
    const Verdict first = choose_accelerator(options);
    CHECK_FALSE(first.remembered);
    CHECK(first.accelerator == Accelerator::Tcg);
    const Verdict second = choose_accelerator(options);
    CHECK(second.remembered);
    CHECK(second.reason == first.reason);

    AcceleratorOptions other = options;
    other.vmm = "/bin/false";
    CHECK_FALSE(choose_accelerator(other).remembered);

    remember_verdict(options, {Accelerator::Tcg, "watchdog", "no hello under KVM"});
    CHECK(choose_accelerator(options).decided_by == "watchdog");

    write_file_atomic(options.cache_file, "{\"key\":3}", 0600);
    CHECK_FALSE(choose_accelerator(options).remembered);
    write_file_atomic(options.cache_file, "not json", 0600);
    CHECK_FALSE(choose_accelerator(options).remembered);
}

TEST_CASE("accelerator: the time-stamp counter is measured to better than 1 in 1000") {
    const uint64_t first = measure_tsc_khz();
    const uint64_t second = measure_tsc_khz();
    CHECK(first > 100'000);
    CHECK(first < 10'000'000);
    CHECK(static_cast<double>(first) == doctest::Approx(static_cast<double>(second)).epsilon(0.001));
}

TEST_CASE("accelerator: the probe answers on this host's own KVM within its alarm") {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        MESSAGE("skipped: no /dev/kvm that this user may open");
        return;
    }
    const KvmProbe probe = probe_kvm("/dev/kvm");
    CHECK(probe.end != KvmProbe::End::NotRun);
    MESSAGE("loop: " << probe.loop.count() << " us");
}
