// Tuning tables as text, and which device they are for.
#include "vkattn/tuning_table.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "vkattn/engine.h"
#include "vkattn/hash.h"
#include "vkattn/shader_sources.h"

namespace vkattn {
namespace {

constexpr std::string_view first_line = "vkattn tuning table 1";
constexpr size_t max_text_bytes = 1u << 20;
constexpr uint32_t max_size = 1u << 20;  // no size of a kernel is near it, and products of two fit 64 bits

struct SizeField {
    std::string_view name;
    uint32_t KernelSizes::*member;
};
constexpr SizeField size_fields[] = {
    {"splits", &KernelSizes::splits},
    {"workgroup_size", &KernelSizes::workgroup_size},
    {"subgroup_size", &KernelSizes::subgroup_size},
    {"tile_rows", &KernelSizes::tile_rows},
    {"heads_per_tile", &KernelSizes::heads_per_tile},
    {"step_keys", &KernelSizes::step_keys},
    {"threads_x", &KernelSizes::threads_x},
    {"micro_rows", &KernelSizes::micro_rows},
    {"micro_cols", &KernelSizes::micro_cols},
    {"matrix_m", &KernelSizes::matrix_m},
    {"matrix_n", &KernelSizes::matrix_n},
    {"matrix_k", &KernelSizes::matrix_k},
};

struct TypeField {
    std::string_view name;
    ElementType TuningKey::*type;
    bool TuningKey::*aligned;
};
constexpr TypeField type_fields[] = {
    {"q", &TuningKey::q_type, &TuningKey::q_aligned},
    {"k", &TuningKey::k_type, &TuningKey::k_aligned},
    {"v", &TuningKey::v_type, &TuningKey::v_aligned},
    {"o", &TuningKey::o_type, &TuningKey::o_aligned},
};

struct RegimeField {
    std::string_view name;
    uint32_t TuningKey::*member;
};
constexpr RegimeField regime_fields[] = {
    {"q_len", &TuningKey::q_len},
    {"group", &TuningKey::group},
    {"kv_len", &TuningKey::kv_len},
    {"kv_heads", &TuningKey::kv_heads},
};

constexpr ElementType types[] = {ElementType::f32, ElementType::f16, ElementType::bf16};
constexpr Path paths[] = {Path::automatic, Path::scalar, Path::khr, Path::nv};
constexpr Skeleton skeletons[] = {Skeleton::automatic, Skeleton::rows, Skeleton::tiles, Skeleton::decode};
constexpr Schedule schedules[] = {Schedule::dense, Schedule::interval, Schedule::list};
constexpr Addressing addressings[] = {Addressing::address, Addressing::binding};

std::string_view yes_or_no(bool value) { return value ? "yes" : "no"; }

// Which tensors are; "-" for none.
std::string aligned_text(const TuningKey& key) {
    std::string text;
    for (const TypeField& field : type_fields)
        if (key.*field.aligned) text += field.name;
    return text.empty() ? "-" : text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

// name=value pairs with single blanks between them, each to be taken once. The first error stays.
class Fields {
  public:
    explicit Fields(std::string_view text) {
        for (const std::string_view part : split(text, ' ')) {
            const size_t at = part.find('=');
            if (at == std::string_view::npos) fail("'" + std::string(part) + "' is no name=value");
            else fields_.push_back({part.substr(0, at), part.substr(at + 1)});
        }
    }

    std::string_view take(std::string_view name, std::string_view otherwise = {}) {
        const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const auto& f) { return f.first == name; });
        if (found == fields_.end()) {
            if (otherwise.empty()) fail("there is no " + std::string(name) + "=");
            return otherwise;
        }
        const std::string_view value = found->second;
        fields_.erase(found);
        return value;
    }
    uint32_t take_number(std::string_view name, uint32_t most, std::string_view otherwise = {}) {
        const std::string_view text = take(name, otherwise);
        uint32_t value = 0;
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
        if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value > most)
            fail(std::string(name) + "=" + std::string(text) + ": a whole number from 0 to " + std::to_string(most) +
                 " is wanted");
        return value;
    }
    bool take_flag(std::string_view name, std::string_view otherwise = {}) {
        const std::string_view text = take(name, otherwise);
        if (text != "yes" && text != "no") fail(std::string(name) + "=" + std::string(text) + ": yes or no is wanted");
        return text == "yes";
    }
    template <class T, size_t n>
    T take_word(std::string_view name, const T (&values)[n], std::string_view otherwise = {}) {
        const std::string_view text = take(name, otherwise);
        for (const T value : values)
            if (to_string(value) == text) return value;
        std::string message = std::string(name) + "=" + std::string(text) + ": one of";
        for (const T value : values) message += " " + std::string(to_string(value));
        fail(message + " is wanted");
        return values[0];
    }
    void fail(std::string message) {
        if (error_.empty()) error_ = std::move(message);
    }
    // What is wrong; empty: every field was taken, and each was right.
    std::string finish() {
        if (!fields_.empty()) fail("'" + std::string(fields_.front().first) + "=' is unknown, or there twice");
        return error_;
    }

  private:
    std::vector<std::pair<std::string_view, std::string_view>> fields_;
    std::string error_;
};

TuningKey take_key(Fields& fields) {
    constexpr uint32_t most = std::numeric_limits<int32_t>::max();
    TuningKey key;
    for (const TypeField& field : type_fields) key.*field.type = fields.take_word(field.name, types);
    const std::string_view aligned = fields.take("aligned");
    for (const TypeField& field : type_fields) key.*field.aligned = aligned.find(field.name) != std::string_view::npos;
    if (aligned != aligned_text(key)) fields.fail("aligned=" + std::string(aligned) + ": of q, k, v and o, or -");
    key.head_dim = static_cast<int32_t>(fields.take_number("d", most));
    key.value_dim = static_cast<int32_t>(fields.take_number("dv", most));
    key.path = fields.take_word("asked", paths);
    key.schedule = fields.take_word("schedule", schedules);
    key.addressing = fields.take_word("addressing", addressings);
    key.mask = fields.take_flag("mask");
    key.score_mod = fields.take_flag("score_mod");
    for (const RegimeField& field : regime_fields) key.*field.member = fields.take_number(field.name, most);
    return key;
}

TunedSizes take_sizes(Fields& fields) {
    TunedSizes tuned;
    tuned.sizes.path = fields.take_word("path", paths);
    tuned.sizes.skeleton = fields.take_word("skeleton", skeletons, "auto");
    tuned.sizes.widen = fields.take_flag("widen", "no");
    tuned.sizes.workgroup_matrices = fields.take_flag("workgroup_matrices", "no");
    for (const SizeField& field : size_fields)
        tuned.sizes.*field.member = fields.take_number(field.name, max_size, "0");
    tuned.before_us = fields.take_number("before_us", std::numeric_limits<uint32_t>::max());
    tuned.after_us = fields.take_number("after_us", std::numeric_limits<uint32_t>::max());
    return tuned;
}

// Names come from a driver: no line of ours may end in the middle of one.
std::string printable(std::string text) {
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    return text;
}

Status damaged(const std::string& why) {
    return error(Code::invalid_text, "tuning table: " + why + "; make it again with `vkattn tune`");
}

}  // namespace

std::string to_text(const KernelSizes& sizes) {
    std::string text = "path=" + std::string(to_string(sizes.path));
    if (sizes.skeleton != Skeleton::automatic) text += " skeleton=" + std::string(to_string(sizes.skeleton));
    if (sizes.widen) text += " widen=yes";
    if (sizes.workgroup_matrices) text += " workgroup_matrices=yes";
    for (const SizeField& field : size_fields)
        if (sizes.*field.member != 0) text += " " + std::string(field.name) + "=" + std::to_string(sizes.*field.member);
    return text;
}

std::string to_text(const TuningKey& key) {
    std::string text;
    for (const TypeField& field : type_fields)
        text += std::string(field.name) + "=" + std::string(to_string(key.*field.type)) + " ";
    text += "aligned=" + aligned_text(key) + " d=" + std::to_string(key.head_dim) +
            " dv=" + std::to_string(key.value_dim) + " asked=" + std::string(to_string(key.path)) +
            " schedule=" + std::string(to_string(key.schedule)) +
            " addressing=" + std::string(to_string(key.addressing)) + " mask=" + std::string(yes_or_no(key.mask)) +
            " score_mod=" + std::string(yes_or_no(key.score_mod));
    for (const RegimeField& field : regime_fields)
        text += " " + std::string(field.name) + "=" + std::to_string(key.*field.member);
    return text;
}

TuningIdentity tuning_identity(const Capabilities& capabilities) {
    std::string sources;
    for (const ShaderSource& source : shader_sources())
        sources += std::string(source.name) + '\0' + std::string(source.text) + '\0';
    return {printable(capabilities.device.name), printable(capabilities.device.driver),
            printable(capabilities.device_key), hash_hex(sources)};
}

std::string tuning_mismatch(const TuningIdentity& identity, const Capabilities& capabilities) {
    const TuningIdentity here = tuning_identity(capabilities);
    if (identity.device_key != here.device_key)
        return "it is for " + identity.device + " (" + identity.driver + "), this is " + here.device + " (" +
               here.driver + ")" +
               (identity.device == here.device && identity.driver == here.driver ? " of another build" : "");
    if (identity.kernels != here.kernels) return "it is for the kernels of another version of vkattn";
    return {};
}

std::string to_text(const TuningTable& table) {
    const TuningIdentity& identity = table.identity;
    std::string text = std::string(first_line) + "\ndevice " + printable(identity.device) + "\ndriver " +
                       printable(identity.driver) + "\ndevice_key " + printable(identity.device_key) + "\nkernels " +
                       printable(identity.kernels) + "\n";
    for (const auto& [key, tuned] : table.entries)
        text += to_text(key) + " : " + to_text(tuned.sizes) + " before_us=" + std::to_string(tuned.before_us) +
                " after_us=" + std::to_string(tuned.after_us) + "\n";
    return text + "hash " + hash_hex(text) + "\n";
}

Result<TuningTable> parse_tuning_table(std::string_view text) {
    if (text.size() > max_text_bytes) return damaged("it has more than " + std::to_string(max_text_bytes) + " bytes");
    if (!text.starts_with(std::string(first_line) + "\n"))
        return damaged("the first line is not '" + std::string(first_line) + "'");
    constexpr std::string_view hash_word = "\nhash ";
    const size_t body = text.rfind(hash_word);
    if (body == std::string_view::npos || text.substr(body + 1) != "hash " + hash_hex(text.substr(0, body + 1)) + "\n")
        return damaged("it was cut or changed, its last line is not the hash of the others");

    TuningTable table;
    const std::vector<std::string_view> lines = split(text.substr(0, body), '\n');
    const struct {
        std::string_view word;
        std::string& value;
    } header[] = {{"device ", table.identity.device},
                  {"driver ", table.identity.driver},
                  {"device_key ", table.identity.device_key},
                  {"kernels ", table.identity.kernels}};
    size_t at = 1;
    for (const auto& field : header) {
        if (at == lines.size() || !lines[at].starts_with(field.word))
            return damaged("line " + std::to_string(at + 1) + " does not begin with '" + std::string(field.word) + "'");
        field.value = printable(std::string(lines[at++].substr(field.word.size())));
    }
    for (; at < lines.size(); at++) {
        const std::string where = "line " + std::to_string(at + 1) + ": ";
        const size_t middle = lines[at].find(" : ");
        if (middle == std::string_view::npos) return damaged(where + "no ' : ' between a problem and its sizes");
        Fields key_fields(lines[at].substr(0, middle)), size_fields_here(lines[at].substr(middle + 3));
        const TuningKey key = take_key(key_fields);
        const TunedSizes tuned = take_sizes(size_fields_here);
        for (Fields* fields : {&key_fields, &size_fields_here})
            if (const std::string why = fields->finish(); !why.empty()) return damaged(where + why);
        if (!table.entries.emplace(key, tuned).second) return damaged(where + "the problem has an entry already");
    }
    return table;
}

}  // namespace vkattn
