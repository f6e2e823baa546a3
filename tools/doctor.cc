// Tells the state of this host and of the machines. Everything a guest said is escaped. Must change
// nothing: what is missing is named with its command, never fetched.
#include "doctor.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "client.h"
#include "egress_dial.h"
#include "error.h"
#include "image.h"
#include "json.h"
#include "model_route.h"
#include "protocols/model_list.h"
#include "qemu.h"
#include "config/secrets.h"
#include "spawn.h"
#include "tools.h"

namespace peacrab {
namespace {

constexpr size_t kMostBackground = 512;  // rows of one machine: 64 agents with 8 each

std::string megabytes(int64_t bytes) { return std::to_string(bytes >> 20) + "M"; }

std::string milliseconds(Microseconds span) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(span.count()) / 1000);
    return text;
}

std::string duration(int64_t ms) {
    const int64_t s = ms / 1000;
    char text[64];
    if (s < 60) std::snprintf(text, sizeof text, "%ds", static_cast<int>(s));
    else if (s < 3600) std::snprintf(text, sizeof text, "%dm%02ds", static_cast<int>(s / 60),
                                     static_cast<int>(s % 60));
    else std::snprintf(text, sizeof text, "%dh%02dm", static_cast<int>(s / 3600),
                       static_cast<int>(s / 60 % 60));
    return text;
}

// What was found, in order. Printed as lines or as one JSON object.
class Findings {
  public:
    void note(const char* what, const std::string& text) { add("info", what, text, ""); }
    void good(const char* what, const std::string& text) { add("ok", what, text, ""); }
    void broken(const char* what, const std::string& text) {
        add("broken", what, text, "");
        sound_ = false;
    }
    void missing(const char* what, const std::string& text, const std::string& mend) {
        add("missing", what, text, mend);
        whole_ = false;
    }
    // Runs a check whose Error is what is missing: "<what happened>; <what to do>".
    void check(const char* what, const std::function<std::string()>& find) {
        try {
            good(what, find());
        } catch (const Error& error) {
            missing(what, error.what(), "");
        }
    }
    int print(OutputForm form) const;

  private:
    void add(const char* state, const char* what, const std::string& text, const std::string& mend) {
        json::Value entry = json::Value::object({{"state", state}, {"what", what}, {"text", text}});
        if (!mend.empty()) entry.set("mend", mend);
        entries_.push(std::move(entry));
    }
    json::Value entries_ = json::Value::array();
    bool whole_ = true;  // nothing is missing
    bool sound_ = true;  // nothing is broken
};

int Findings::print(OutputForm form) const {
    if (form == OutputForm::Json) {
        const json::Value all = json::Value::object({{"ok", whole_ && sound_}, {"findings", entries_}});
        std::printf("%s\n", json::dump(all).c_str());
        return whole_ && sound_ ? 0 : 1;
    }
    const bool colour = ::isatty(STDOUT_FILENO) && env("NO_COLOR").empty() && env("TERM") != "dumb";
    for (const json::Value& entry : entries_.items()) {
        const std::string state = entry.text("state");
        const char* mark = state == "ok"       ? "ok     "
                           : state == "info"   ? "       "
                           : state == "broken" ? "BROKEN "
                                               : "MISSING";
        const char* on = !colour || state == "info" ? "" : state == "ok" ? "\033[32m" : "\033[31m";
        std::printf("%s%s%s  %-12s %s\n", on, mark, *on ? "\033[0m" : "", entry.text("what").c_str(),
                    printable(entry.text("text")).c_str());
        if (!entry.text("mend").empty())
            std::printf("%22s mend it: %s\n", "", printable(entry.text("mend")).c_str());
    }
    if (!whole_) std::printf("\nA machine cannot start here until the missing things are there.\n");
    return whole_ && sound_ ? 0 : 1;
}

void find_programs(Findings& findings) {
    utsname host{};
    ::uname(&host);
    findings.note("peacrab", std::string(kVersion) + " on Linux " + host.release + " " + host.machine);
    const std::string qemu = find_qemu();
    if (qemu.empty()) {
        findings.missing("qemu", "qemu-system-x86_64 is not installed", "apt install qemu-system-x86");
    } else {
        findings.check("qemu", [&qemu] {
            SpawnOptions options;
            options.program = qemu;
            options.arguments = {qemu, "--version"};
            options.environment = {"PATH=/usr/bin:/bin"};
            const RunResult result = run_program(options, Seconds(20));
            if (!result.exit.ok()) throw Error(qemu + " --version: " + result.exit.describe());
            return result.output.substr(0, result.output.find('\n')) + ", " + qemu;
        });
    }
    const std::string mke2fs = find_program("mke2fs");
    if (mke2fs.empty()) findings.missing("mke2fs", "not installed", "apt install e2fsprogs");
    else findings.good("mke2fs", mke2fs);
}

void find_folders(Findings& findings, const MachinePlace& place, const MachineOptions& options) {
    findings.note("config", config_file());
    findings.note("state", place.folder);
    findings.note("cache", cache_folder());
    findings.note("images", images_folder());
    findings.note("socket", place.socket);
    findings.check("disk", [&place] {
        std::string folder = place.folder;
        while (folder.size() > 1 && ::access(folder.c_str(), F_OK) < 0)
            folder.erase(folder.rfind('/'));
        if (folder.empty()) folder = "/";
        const Bytes free = free_space(folder);
        check_disk(folder, free);
        return megabytes(static_cast<int64_t>(free.count)) + " free in " + folder;
    });
    findings.check("memory", [&options] {
        const Bytes available = available_memory();
        const Bytes asked = options.memory.count ? options.memory : kDefaultMemory;
        check_memory(asked, available);
        return megabytes(static_cast<int64_t>(available.count)) + " available, a machine gets " +
               format_size(asked);
    });
}

void find_accelerator(Findings& findings, const MachineOptions& options) {
    const KvmFacts facts = read_kvm_facts("/dev/kvm");
    std::string modules;
    for (const std::string& module : facts.modules) modules += " " + module;
    findings.note("kvm facts",
                  std::string(facts.present ? "/dev/kvm is there" : "no /dev/kvm") +
                      (facts.present ? facts.open_error ? ", does not open" : ", opens" : "") +
                      (facts.cpu_flag ? "; the CPU says vmx or svm" : "; the CPU says neither vmx nor svm") +
                      "; modules:" + (modules.empty() ? " none" : modules));
    AcceleratorOptions probe;
    probe.vmm = find_qemu();
    probe.cache_file = accelerator_cache_file();
    const Verdict verdict = choose_accelerator(probe);
    findings.good("accelerator", std::string(accelerator_describe(verdict.accelerator)) +
                                     ", decided by the " + verdict.decided_by + " in " +
                                     milliseconds(verdict.took) +
                                     (verdict.remembered ? " (remembered)" : "") + ": " +
                                     verdict.reason);
    if (options.accelerator != "auto")
        findings.note("", "the configuration asks for " + options.accelerator + ", which wins");
    findings.note("clock", "TSC " + std::to_string(measure_tsc_khz()) + " kHz");
}

void find_model(Findings& findings, const MachineOptions& options) {
    try {
        ModelRouteOptions route;
        route.config = {options.model, options.model_url, options.dialect};
        const ModelChoice choice = choose_model_here(route);
        const std::string note = choice.note.empty() ? "" : "; " + choice.note;
        const std::string key =
            choice.key == ModelChoice::Key::Stored        ? "key stored"
            : choice.key == ModelChoice::Key::Environment ? "key from " + key_variable(choice.server)
                                                          : "no key";
        std::string found;
        for (const ModelServer& server : model_servers())
            if (choice.demo && server.quirks.local && answers(server))
                found += (found.empty() ? "; on this machine answers " : ", ") + std::string(server.name);
        if (choice.demo)
            findings.note("model", "the demo model, which is no model at all; set one up: peacrab setup" +
                                       found + note);
        else
            findings.good("model", choice.model + " at " + url_host(choice.url) + " (" +
                                     dialect_name(choice.server.dialect) + "), " + key + note);
    } catch (const Error& error) {
        findings.missing("model", error.what(), "");
    }
}

// What cells may reach, and by which way.
void find_egress(Findings& findings) {
    findings.check("egress", [] {
        const size_t rules = load_config(config_file()).egress.size();
        return rules ? std::to_string(rules) +
                           (rules == 1 ? " place outside is" : " places outside are") +
                           " allowed to cells; peacrab allow"
                     : std::string("closed: cells reach nothing outside; peacrab allow HOST:PORT");
    });
    const ProxySettings proxies = own_proxy_settings();
    for (const char* method : {"GET", "CONNECT"}) {
        const EgressAsk ask{"somewhere.invalid", 443, method};
        try {
            if (const auto proxy = proxy_for(proxies, ask))
                findings.note("", std::string(ask.tunnel() ? "tunnels go" : "plain HTTP goes") +
                                      " through this host's proxy, " +
                                      place_text(proxy->host, proxy->port) +
                                      ", which also resolves the names");
        } catch (const Error& error) {
            findings.missing("egress", error.what(), "set http_proxy and https_proxy to http://HOST:PORT");
        }
    }
}

void tell_vmm(Findings& findings, const json::Value& report) {
    findings.good("machine",
                  report.text("name") + " is " + report.text("state") + ": pid " +
                      std::to_string(report.integer("pid")) + ", " + report.text("accelerator") +
                      " (" + report.text("decided_by") + ": " + report.text("reason") + "), " +
                      std::to_string(report.integer("cpus")) + " CPU, " +
                      megabytes(report.integer("memory")) + ", booted in " +
                      std::to_string(report.integer("boot_ms")) + " ms, image " +
                      report.text("image"));
    const json::Value* vmm = report.find("vmm");
    if (!vmm) return;
    const auto yes = [vmm](const char* key) { return vmm->flag(key) ? "yes" : "NO"; };
    findings.note("vmm", "user " + std::to_string(vmm->integer("user")) + ", no capabilities: " +
                             yes("no_capabilities") + ", no new privileges: " +
                             yes("no_new_privileges") + ", seccomp: " + yes("filtered") +
                             ", own empty network: " + yes("own_network"));
}

// The guest's own report: keys are not known here, values are shown as they come.
void tell_guest(Findings& findings, const std::string& prefix, const json::Value& value) {
    switch (value.kind()) {
        case json::Value::Kind::Object:
            for (const json::Member& member : value.members())
                tell_guest(findings, prefix.empty() ? member.first : prefix + "." + member.first,
                           member.second);
            return;
        case json::Value::Kind::Array: {
            std::string text;
            for (const json::Value& item : value.items())
                text += (text.empty() ? "" : " ") + (item.is_string() ? item.as_string() : json::dump(item));
            return findings.note("guest", prefix + ": " + text);
        }
        case json::Value::Kind::String:
            return findings.note("guest", prefix + ": " + value.as_string());
        default: return findings.note("guest", prefix + ": " + json::dump(value));
    }
}

// What was done there, and whether that was touched afterwards. Whoever has the guest itself could
// answer anything: this is about its disk.
void tell_audit(Findings& findings, const json::Value& report) {
    const json::Value* const audit = report.find("audit");
    if (!audit) return findings.note("audit", "this image does not check it");
    const std::string text = shown_line(audit->text("text"), 400);
    if (audit->flag("whole")) findings.good("audit", text);
    else if (audit->flag("known")) findings.broken("audit", text);
    else findings.note("audit", text);
}

void find_machine(Findings& findings, const MachinePlace& place) {
    std::optional<FrameSocket> gateway = connect_gateway(place);
    if (!gateway) {
        const std::string ended = why_it_ended(place);
        findings.note("machine", place.name + " does not run" +
                                     (ended.empty() ? "" : "; the last time: " + ended) +
                                     "; what is in force is known once it does: " +
                                     command_for("up", place.name));
        return;
    }
    tell_vmm(findings, ask_gateway(*gateway, "ps", Seconds(5)).at("report"));
    json::Value report = ask_gateway(*gateway, "inspect", Seconds(60)).at("report");
    tell_audit(findings, report);
    std::erase_if(report.members(), [](const json::Member& each) { return each.first == "audit"; });
    tell_guest(findings, "", report);
}

}  // namespace

int doctor(const std::string& name, OutputForm form) {
    const MachinePlace place = machine_place(name);
    Findings findings;
    find_programs(findings);
    MachineOptions options = with_config({}, {});
    bool readable = true;
    try {
        options = with_config({}, load_config(config_file()));
    } catch (const Error& error) {
        readable = false;
        findings.broken("config", std::string(error.what()) + "; no machine starts until that is mended");
    }
    find_folders(findings, place, options);
    findings.check("image", [] {
        const Image image = current_image();
        return image.id + ", kernel " + image.manifest.at("kernel").text("version") + ", " +
               image.folder;
    });
    find_accelerator(findings, options);
    if (readable) {
        find_model(findings, options);
        find_egress(findings);
    }
    try {
        find_machine(findings, place);
    } catch (const Error& error) {
        findings.missing("machine", error.what(), "peacrab stop, then peacrab up");
    }
    return findings.print(form);
}

namespace {

// What agents left running, by the guest's word. One that is busy or hostile only loses its lines.
void add_background(json::Value& report, FrameSocket& gateway) {
    if (report.text("state") != "ready") return;
    try {
        const json::Value asked =
            json::Value::object({{"type", "inspect"}, {"what", "background"}});
        const json::Value said = ask_gateway(gateway, asked, Seconds(5)).at("report");
        const json::Value* const rows = said.find("background");
        json::Value kept = json::Value::array();
        if (rows && rows->is_array())
            for (const json::Value& row : rows->items())
                if (row.is_object() && kept.items().size() < kMostBackground) kept.push(row);
        report.set("background", std::move(kept));
    } catch (const Error& error) {
        report.set("background_unknown", error.what());
    }
}

void print_background(const json::Value& machine) {
    const std::string name = printable(machine.text("name"));
    if (const std::string why = machine.text("background_unknown"); !why.empty())
        std::printf("background: %s does not say what runs: %s\n", name.c_str(), shown_line(why, 200).c_str());
    const json::Value* const rows = machine.find("background");
    if (!rows) return;
    const auto shown = [](const json::Value& row, const char* key, size_t most) {
        return shown_line(row.text(key), most);
    };
    for (const json::Value& row : rows->items())
        std::printf("background: %s %s of %s for %s: %s\n", name.c_str(), shown(row, "id", 12).c_str(),
                    shown(row, "agent", 40).c_str(), duration(row.integer("ms")).c_str(),
                    shown(row, "command", 60).c_str());
}

}  // namespace

int list_machines(OutputForm form) {
    json::Value all = json::Value::array();
    for (const std::string& name : machine_names()) {
        json::Value report = json::Value::object({{"name", name}, {"state", "stopped"}});
        try {
            std::optional<FrameSocket> gateway = connect_gateway(machine_place(name));
            if (gateway) {
                report = ask_gateway(*gateway, "ps", Seconds(5)).at("report");
                add_background(report, *gateway);
            }
        } catch (const Error& error) {
            report.set("state", "unknown");
            report.set("reason", error.what());
        }
        all.push(std::move(report));
    }
    if (form == OutputForm::Json) {
        std::printf("%s\n", json::dump(all).c_str());
        return 0;
    }
    if (all.items().empty()) {
        std::printf("no machine yet; start one: peacrab up\n");
        return 0;
    }
    std::printf("%-12s %-9s %-8s %-6s %-8s %-8s %-24s %s\n", "NAME", "STATE", "PID", "ACCEL", "UPTIME",
                "MEMORY", "MODEL", "SESSIONS");
    for (const json::Value& machine : all.items()) {
        const bool runs = machine.integer("pid") > 0;
        std::printf("%-12s %-9s %-8s %-6s %-8s %-8s %-24s %s\n",
                    printable(machine.text("name")).c_str(), machine.text("state").c_str(),
                    runs ? std::to_string(machine.integer("pid")).c_str() : "-",
                    runs ? machine.text("accelerator").c_str() : "-",
                    runs ? duration(machine.integer("uptime_ms")).c_str() : "-",
                    runs ? megabytes(machine.integer("resident")).c_str() : "-",
                    runs ? printable(machine.text("model")).c_str() : "-",
                    runs ? std::to_string(machine.integer("sessions")).c_str() : "-");
    }
    for (const json::Value& machine : all.items()) {
        const json::Value* ports = machine.find("ports");
        if (!ports) continue;
        for (const json::Value& port : ports->items())
            std::printf("port: %s %s of %s at %s\n", printable(machine.text("name")).c_str(),
                        std::to_string(port.integer("port")).c_str(),
                        printable(port.text("agent")).c_str(), printable(port.text("url")).c_str());
    }
    for (const json::Value& machine : all.items()) print_background(machine);
    return 0;
}

}  // namespace peacrab
