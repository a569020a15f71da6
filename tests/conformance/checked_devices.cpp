#include "checked_devices.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace vkattn_tests {
namespace {

using vkattn::Code;
using vkattn::Result;
using vkattn::Status;

constexpr size_t max_report_bytes = 8u << 20, max_devices = 64, max_entries = 64, max_name = 200, max_reason = 2000;
constexpr int max_depth = 16;
constexpr int64_t max_count = 1'000'000'000;
constexpr std::string_view verdicts[] = {"pass", "FAIL", "CRASH", "not available", "nothing run", "unfinished"};

// Printable ASCII in one line; anything else is a '?'.
std::string plain(const std::string& text) {
    std::string line;
    for (const char c : text)
        if (const auto byte = static_cast<unsigned char>(c);
            (byte & 0xc0) != 0x80)  // a code point, not each of its bytes
            line += byte >= 0x20 && byte < 0x7f ? c : '?';
    const size_t end = line.find_last_not_of(' ');
    return line.substr(0, end == std::string::npos ? 0 : end + 1);
}

// Lower-case letters, digits and single hyphens.
std::string file_name(const std::string& text) {
    std::string name;
    for (const char c : text) {
        const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9')) name += lower;
        else if (!name.empty() && name.back() != '-') name += '-';
        if (name.size() == 120) break;
    }
    while (!name.empty() && name.back() == '-') name.pop_back();
    return name;
}

bool is_name(const std::string& text) {
    return !text.empty() && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
}

// Takes fields of an object over into a kept report. The first that is not as it should be is the error.
class Fields {
  public:
    Fields(const Json& from, std::string where, Json& to) : from_(from), where_(std::move(where)), to_(to) {
        if (!from.is_object()) fail("is not an object");
    }
    const Status& status() const { return status_; }
    void fail(const std::string& what) {
        if (status_.ok()) status_ = vkattn::error(Code::invalid_argument, where_ + " " + what);
    }
    void text(const char* key, size_t longest = max_name) {
        const Json* value = find(key, "a text");
        if (value == nullptr) return;
        if (!value->is_string()) return fail_field(key, "is not a text");
        const std::string line = plain(value->get<std::string>());
        if (line.empty()) return fail_field(key, "is empty");
        if (line.size() > longest) return fail_field(key, "is longer than " + std::to_string(longest) + " characters");
        to_[key] = line;
    }
    void name(const char* key) {
        text(key);
        if (status_.ok() && !is_name(to_[key].get<std::string>()))
            fail_field(key, "is not made of at most 40 of a-z, 0-9, - and _");
    }
    void count(const char* key, bool optional = false) {
        if (optional && from_.is_object() && !from_.contains(key)) return;
        const Json* value = find(key, "a number");
        if (value == nullptr) return;
        if (!value->is_number_integer() || *value < 0 || *value > max_count)
            return fail_field(key, "is not a whole number from 0 to " + std::to_string(max_count));
        to_[key] = value->get<int64_t>();
    }
    void flag(const char* key) {
        const Json* value = find(key, "true or false");
        if (value == nullptr) return;
        if (!value->is_boolean()) return fail_field(key, "is neither true nor false");
        to_[key] = *value;
    }
    void texts(const char* key) {
        const Json* value = find(key, "a list of texts");
        if (value == nullptr) return;
        if (!value->is_array() || value->size() > max_entries)
            return fail_field(key, "is not a list of at most " + std::to_string(max_entries) + " texts");
        to_[key] = Json::array();
        for (const Json& one : *value) {
            if (!one.is_string() || one.get_ref<const std::string&>().size() > max_name)
                return fail_field(key,
                                  "holds something else than texts of at most " + std::to_string(max_name) + " bytes");
            to_[key].push_back(plain(one.get<std::string>()));
        }
    }

  private:
    const Json* find(const char* key, const char* what) {
        if (!status_.ok()) return nullptr;
        if (const auto found = from_.find(key); found != from_.end()) return &*found;
        fail_field(key, std::string("is missing; it should be ") + what);
        return nullptr;
    }
    void fail_field(const char* key, const std::string& what) { fail(std::string("'") + key + "' " + what); }

    const Json& from_;
    std::string where_;
    Json& to_;
    Status status_;
};

Status keep_path(const std::string& name, const Json& from, Json& paths) {
    const std::string where = "path '" + plain(name).substr(0, 40) + "':";
    if (!is_name(name)) return vkattn::error(Code::invalid_argument, where + " no name of a path");
    Json kept = Json::object();
    Fields fields(from, where, kept);
    fields.text("verdict");
    if (!fields.status().ok()) return fields.status();
    const auto& verdict = kept["verdict"].get_ref<const std::string&>();
    if (std::find(std::begin(verdicts), std::end(verdicts), verdict) == std::end(verdicts))
        return vkattn::error(Code::invalid_argument, where + " 'verdict' is '" + verdict + "', which is none");
    if (verdict == "not available") {
        fields.text("reason", max_reason);
    } else {
        fields.count("cases");
        fields.count("right");
        fields.count("refused");
        if (fields.status().ok() &&
            kept["right"].get<int64_t>() + kept["refused"].get<int64_t>() > kept["cases"].get<int64_t>())
            fields.fail("more cases are right or refused than there are");
        if (fields.status().ok() && verdict == "pass" &&
            kept["right"].get<int64_t>() + kept["refused"].get<int64_t>() != kept["cases"].get<int64_t>())
            fields.fail("the verdict is pass, but not all cases are right");
    }
    paths[name] = std::move(kept);
    return fields.status();
}

// `run`: what is said once for all devices of a report.
Result<CheckedDevice> keep_computed(const Json& run, const Json& from, const Json& paths, const std::string& where) {
    CheckedDevice device;
    Json& kept = device.report = {{"means", "computed"}};
    Fields fields(from, where, kept), fields_of_run(run, "the report:", kept);
    for (const char* key : {"device", "driver", "api", "kind"}) fields.text(key);
    fields.count("subgroup_size");
    fields.texts("matrix_shapes");
    for (const char* key : {"version", "platform", "table"}) fields_of_run.text(key);
    fields_of_run.flag("validation");
    for (const Fields* read : {&fields, &fields_of_run})
        if (!read->status().ok()) return read->status();
    kept["paths"] = Json::object();
    if (!paths.is_object() || paths.empty() || paths.size() > max_entries)
        return vkattn::error(Code::invalid_argument,
                             where + " 'paths' are not 1 to " + std::to_string(max_entries) + " paths");
    for (const auto& [name, path] : paths.items())
        if (Status status = keep_path(name, path, kept["paths"]); !status.ok())
            return vkattn::error(status.code, where + " " + status.message);
    device.file = file_name(kept["device"].get<std::string>() + " " + kept["driver"].get<std::string>()) + ".json";
    return device;
}

Result<CheckedDevice> keep_compiled(const Json& from) {
    CheckedDevice device;
    Json& kept = device.report = {{"means", "compiled"}};
    Fields fields(from, "the report:", kept);
    fields.name("key");
    for (const char* key : {"stands_for", "device", "driver", "subgroup_sizes"}) fields.text(key);
    fields.count("max_shared_bytes");
    fields.texts("matrix_shapes");
    for (const char* key : {"pipelines", "over_budget"}) fields.count(key);
    if (!fields.status().ok()) return fields.status();
    const Json none;
    const auto found = from.find("kernels");
    const Json& kernels = found == from.end() ? none : *found;
    if (!kernels.is_object() || kernels.empty() || kernels.size() > max_entries)
        return vkattn::error(Code::invalid_argument,
                             "the report: 'kernels' are not 1 to " + std::to_string(max_entries) + " kernels");
    kept["kernels"] = Json::object();
    for (const auto& [name, figures] : kernels.items()) {
        Json kept_figures = Json::object();
        Fields of_kernel(figures, "kernel '" + plain(name).substr(0, 40) + "':", kept_figures);
        if (!is_name(name)) of_kernel.fail("no name of a kernel");
        of_kernel.count("pipelines");
        for (const char* key : {"registers", "occupancy", "matrix_instructions"}) of_kernel.count(key, true);
        if (!of_kernel.status().ok()) return of_kernel.status();
        kept["kernels"][name] = std::move(kept_figures);
    }
    device.file = "compiled-" + file_name(kept["key"].get<std::string>()) + ".json";
    return device;
}

Result<std::vector<CheckedDevice>> read_conformance(const Json& report) {
    const auto refuse = [](const std::string& why) { return vkattn::error(Code::invalid_argument, why); };
    if (report.value("finished", Json(false)) != Json(true))
        return refuse("the run did not finish ('finished' is not true): it shows a crash, and nothing for the table");
    if (report.value("table", Json()) == Json("replay") || report.value("selection", Json("")) != Json(""))
        return refuse("only some cases or paths were run (--replay, --only or --path): the table takes whole runs");
    const auto devices = report.find("devices");
    if (devices == report.end() || !devices->is_array() || devices->empty() || devices->size() > max_devices)
        return refuse("'devices' is not a list of 1 to " + std::to_string(max_devices) + " devices");
    std::vector<CheckedDevice> kept;
    for (const Json& device : *devices) {
        const std::string where = "device " + std::to_string(kept.size()) + ":";
        if (!device.is_object()) return refuse(where + " is not an object");
        if (device.contains("unusable")) return refuse(where + " could not be used, so nothing of it was checked");
        const auto list = device.find("paths");
        if (list == device.end() || !list->is_array()) return refuse(where + " 'paths' is not a list");
        Json paths = Json::object();
        for (const Json& path : *list) {
            if (!path.is_object() || !path.contains("path") || !path["path"].is_string())
                return refuse(where + " a path has no name");
            paths[path["path"].get<std::string>()] = path;
        }
        auto one = keep_computed(report, device, paths, where);
        if (!one) return one.status();
        kept.push_back(std::move(*one));
    }
    return kept;
}

// In a table's cell: nothing in a code span is markup but the bar.
std::string code(const Json& text) {
    std::string cell = text.get<std::string>();
    std::replace(cell.begin(), cell.end(), '`', '\'');
    std::replace(cell.begin(), cell.end(), '|', '/');
    return "`" + cell + "`";
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text.empty() ? "-" : text;
}

// "16x16x16 f16, 8x8x16 bf16": sizes and types of A that attention can use, each once.
std::string matrices(const Json& shapes) {
    std::set<std::string> kinds;
    for (const Json& shape : shapes) {
        const std::string text = shape.get<std::string>();
        const std::string kind = text.substr(0, text.find(' ', text.find(' ') + 1));
        if (kind.ends_with(" f16") || kind.ends_with(" bf16")) kinds.insert(kind);
    }
    return kinds.empty() ? "-" : code(joined({kinds.begin(), kinds.end()}));
}

std::string computed_row(const Json& d) {
    std::vector<std::string> wrong, absent;
    int64_t passed = 0, right = 0;
    for (const auto& [name, path] : d["paths"].items()) {
        const auto verdict = path["verdict"].get<std::string>();
        if (verdict == "pass") {
            passed++;
            right += path["right"].get<int64_t>();
        } else if (verdict == "not available") {
            absent.push_back(name);
        } else if (verdict != "nothing run") {
            wrong.push_back(name + ": " + verdict + ", " + std::to_string(path["right"].get<int64_t>()) + " of " +
                            std::to_string(path["cases"].get<int64_t>() - path["refused"].get<int64_t>()) + " right");
        }
    }
    return "| " + code(d["device"]) + " | " + code(d["driver"]) + " | " + code(d["api"]) + " | " + code(d["platform"]) +
           " | " + std::to_string(d["subgroup_size"].get<int64_t>()) + " | " + matrices(d["matrix_shapes"]) + " | " +
           code(d["version"]) + ", " + code(d["table"]) + (d["validation"].get<bool>() ? ", validated" : "") + " | " +
           std::to_string(passed) + " (" + std::to_string(right) + " cases) | " + joined(wrong) + " | " +
           joined(absent) + " |\n";
}

std::string kernel_cell(const Json& kernels, const char* name) {
    const auto found = kernels.find(name);
    if (found == kernels.end()) return "-";
    const auto figure = [&](const char* key) {
        return found->contains(key) ? std::to_string((*found)[key].get<int64_t>()) : std::string("?");
    };
    if (!found->contains("registers") && !found->contains("occupancy")) return "yes";
    return figure("registers") + "; " + figure("occupancy");
}

std::string compiled_row(const Json& d) {
    const Json& kernels = d["kernels"];
    std::string row = "| " + code(d["stands_for"]) + " | " + code(d["key"]) + " | " + code(d["device"]) + " | " +
                      code(d["driver"]) + " | " + code(d["subgroup_sizes"]) + " | " +
                      std::to_string(d["max_shared_bytes"].get<int64_t>() / 1024) + " | " +
                      matrices(d["matrix_shapes"]) + " | " + std::to_string(d["pipelines"].get<int64_t>());
    for (const char* name : {"attention_tiles", "attention_decode", "attention_khr"})
        row += " | " + kernel_cell(kernels, name);
    return row + " | " + std::to_string(d["over_budget"].get<int64_t>()) + " |\n";
}

}  // namespace

Result<std::vector<CheckedDevice>> read_device_report(std::string_view text) {
    const auto refuse = [](const std::string& why) { return vkattn::error(Code::invalid_argument, why); };
    if (text.size() > max_report_bytes)
        return refuse("the file has more than " + std::to_string(max_report_bytes) + " bytes");
    bool too_deep = false;
    const Json report = Json::parse(
        text,
        [&](int depth, Json::parse_event_t, Json&) {
            too_deep = too_deep || depth > max_depth;
            return depth <= max_depth;
        },
        false);
    if (too_deep) return refuse("values are nested deeper than " + std::to_string(max_depth));
    if (report.is_discarded()) return refuse("the file is not JSON");
    if (!report.is_object()) return refuse("the file holds no JSON object");
    const Json means = report.value("means", Json());
    if (means == Json("compiled") || means == Json("computed")) {
        const auto found = report.find("paths");
        auto one = means == Json("compiled")
                       ? keep_compiled(report)
                       : keep_computed(report, report, found == report.end() ? Json() : *found, "the report:");
        if (!one) return one.status();
        return std::vector<CheckedDevice>{std::move(*one)};
    }
    if (report.value("program", Json()) == Json("vkattn-conformance")) return read_conformance(report);
    return refuse("this is no report: it has neither \"program\": \"vkattn-conformance\" nor \"means\"");
}

std::string to_text(const CheckedDevice& device) { return device.report.dump(2) + "\n"; }

std::string devices_page(std::vector<CheckedDevice> devices) {
    std::vector<std::pair<std::string, std::string>> computed, compiled;  // what they are sorted by, row
    for (const CheckedDevice& device : devices) {
        if (device.report["means"] == Json("computed"))
            computed.emplace_back(device.report["kind"].get<std::string>() + device.file, computed_row(device.report));
        else
            compiled.emplace_back(device.report["stands_for"].get<std::string>() + device.file,
                                  compiled_row(device.report));
    }
    std::sort(computed.begin(), computed.end());
    std::sort(compiled.begin(), compiled.end());
    std::string page =
        "# Devices checked\n\n"
        "Written by `build/bin/vkattn-devices` from the reports in [devices/](devices/); not by hand.\n\n"
        "**Yours is not here?** Run `build/bin/vkattn-conformance` ([what it does](conformance.md)) and attach\n"
        "`vkattn-conformance.json` to an issue. A maintainer adds it with `build/bin/vkattn-devices "
        "vkattn-conformance.json`, which keeps\n"
        "what the table needs in `devices/` and writes this page again.\n\n"
        "## Computed\n\n"
        "Every path of the library that the device offers, against float64, on the device itself.\n\n"
        "| device | driver | Vulkan | system | subgroup | matrices | vkattn, table | paths right | wrong | not "
        "available |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n";
    for (const auto& [order, row] : computed) page += row;
    page += "\n## Compiled only\n\n"
            "`tests/vendors.sh`: the vendor's Mesa driver on a pretended kernel driver gave its real physical device, "
            "compiled every pipeline of\n"
            "the table of problems in `tests/vendors/compile_pipelines.cpp` with the vendor's real back end, and the "
            "whole host path ran under the\n"
            "validation layer without a message. **Nothing was computed there**, and the vendors' own closed compilers "
            "are others.\n\n"
            "| stands for | key | as it calls itself | driver | subgroup | shared KiB | matrices | pipelines | tiles | "
            "decode | khr | over budget |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for (const auto& [order, row] : compiled) page += row;
    page += "\n- tiles, decode, khr: most registers of an invocation; least occupancy, over the kernel's pipelines, in "
            "each driver's own unit:\n"
            "  32-bit registers and waves a SIMD (RADV), 32-bit and warps an SM (NVK), 4 x 32-bit and waves a core "
            "(Turnip), 16-bit and\n"
            "  invocations a core (Honeykrisp). `?`: the driver does not say. `yes`: it says neither. `-`: the kernel "
            "is not chosen there.\n"
            "- Over budget: pipelines that spill or use scratch memory ([budgets.h](../tests/vendors/budgets.h) allows "
            "none).\n";
    return page;
}

}  // namespace vkattn_tests
