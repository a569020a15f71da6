// Reading the golden files, and the checks of one case.
#include "sources/golden.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include "masks/tree_equality.h"
#include "vkattn/classify.h"
#include "vkattn/create_mask.h"
#include "vkattn/picture.h"
#include "vkattn/sources/pytorch.h"

namespace vkattn::test {

namespace {

template <class T>
T take(Result<T> result) {
    REQUIRE_MESSAGE(result.ok(), result.status().message);
    return std::move(*result);
}

support::Safetensors open(std::string_view source) {
    return take(support::Safetensors::open(std::string(VKATTN_TEST_GOLDEN "/") + std::string(source) + ".safetensors"));
}

const char* glyph(BlockKind kind) { return kind == BlockKind::full ? "█" : kind == BlockKind::partial ? "▒" : "·"; }

// A list of ours against PyTorch's arrays for the same mask and block size.
void check_blocks(const GoldenFile& file, const std::string& at, const BlockMask& ours) {
    CAPTURE(at);
    const PaddedBlocks arrays = file.blocks(at);
    Shape shape = ours.shape;
    const BlockMask theirs = take(from_kv_blocks(arrays, shape, ours.block_q, ours.block_kv));
    REQUIRE(theirs.batch == shape.batch);
    REQUIRE(theirs.heads == shape.q_heads);
    // PyTorch pads the plane with false, so a block that reaches past the last query or key is never full there.
    const PaddedBlocks exported = take(to_padded(ours, 256u << 20, false, true));
    const BlockMask strict = take(from_kv_blocks(exported, shape, ours.block_q, ours.block_kv));
    int wrong = 0;
    for (int32_t b = 0; b < theirs.batch; ++b)
        for (int32_t h = 0; h < theirs.heads; ++h)
            for (int32_t row = 0; row < theirs.rows(); ++row)
                for (int32_t column = 0; column < theirs.columns(); ++column)
                    wrong += theirs.kind(b, h, row, column) != strict.kind(b, h, row, column);
    CHECK(wrong == 0);

    // Import and export: the arrays come back element for element, also what stands behind the counts.
    const PaddedBlocks again = take(to_padded(theirs));
    CHECK(again.num_blocks == arrays.num_blocks);
    CHECK(again.indices == arrays.indices);
    CHECK(again.full_num_blocks == arrays.full_num_blocks);
    CHECK(again.full_indices == arrays.full_indices);
    if (ours.batch == theirs.batch && ours.heads == theirs.heads) {
        CHECK(exported.num_blocks == arrays.num_blocks);
        CHECK(exported.indices == arrays.indices);
        CHECK(exported.full_num_blocks == arrays.full_num_blocks);
        CHECK(exported.full_indices == arrays.full_indices);
    }

    // Ours may be one list for all heads; the share of empty blocks is the same.
    CHECK(ours.sparsity() ==
          doctest::Approx(std::strtod(file.metadata(at + "/sparsity").c_str(), nullptr)).epsilon(1e-12));
    if (file.has(at + "/grid")) {
        const std::vector<uint8_t> grid = file.bytes(at + "/grid");
        CHECK(pytorch::to_string(theirs) == std::string(grid.begin(), grid.end()));
    }

    // The picture has one glyph a block.
    std::string expected_picture;
    for (int32_t row = 0; row < ours.rows(); ++row) {
        for (int32_t column = 0; column < ours.columns(); ++column)
            expected_picture += glyph(ours.kind(0, 0, row, column));
        expected_picture += "\n";
    }
    CHECK(terminal_picture(ours).find("\n" + expected_picture) != std::string::npos);
    CHECK(svg_picture(ours).rfind("<svg", 0) == 0);
}

void check_element_wise(const GoldenFile& file, const std::string& at, const Mask& mask, const Mask& by_text,
                        const Shape& shape, const Bindings& bindings) {
    const size_t count = static_cast<size_t>(shape.batch) * static_cast<size_t>(shape.q_heads) *
                         static_cast<size_t>(shape.q_len) * static_cast<size_t>(shape.kv_len);
    const std::vector<uint8_t> expected = file.packed_bits(at + "/mask", count);
    check_dense(expected, mask, shape, bindings);
    check_dense(expected, by_text, shape, bindings);
}

}  // namespace

GoldenFile::GoldenFile(std::string_view source) : file_(open(source)) {}

const support::Tensor& GoldenFile::tensor(const std::string& name) const {
    const support::Tensor* found = file_.find(name);
    REQUIRE_MESSAGE(found != nullptr, "no tensor " << name);
    return *found;
}

std::vector<std::string> GoldenFile::names_under(const std::string& prefix) const {
    std::vector<std::string> names;
    for (const support::Tensor& each : file_.tensors())
        if (each.name.rfind(prefix, 0) == 0) names.push_back(each.name.substr(prefix.size()));
    return names;
}

std::vector<int32_t> GoldenFile::ints(const std::string& name) const { return take(support::to_i32(tensor(name))); }
std::vector<float> GoldenFile::floats(const std::string& name) const { return take(support::to_f32(tensor(name))); }
std::vector<int64_t> GoldenFile::dims(const std::string& name) const { return tensor(name).shape; }

std::vector<double> GoldenFile::doubles(const std::string& name) const {
    const support::Tensor& found = tensor(name);
    REQUIRE(found.dtype == support::DType::f64);
    std::vector<double> values(static_cast<size_t>(found.count()));
    std::memcpy(values.data(), found.bytes.data(), found.bytes.size());
    return values;
}

std::vector<uint8_t> GoldenFile::bytes(const std::string& name) const {
    const support::Tensor& found = tensor(name);
    return {found.bytes.begin(), found.bytes.end()};
}

std::vector<uint8_t> GoldenFile::packed_bits(const std::string& name, size_t count) const {
    const std::vector<uint8_t> packed = bytes(name);
    REQUIRE(packed.size() == (count + 7) / 8);
    std::vector<uint8_t> bits(count);
    for (size_t i = 0; i < count; ++i) bits[i] = (packed[i / 8] >> (i % 8)) & 1;
    return bits;
}

TableData GoldenFile::table(const std::string& name) const {
    const support::Tensor& found = tensor(name);
    TableData data;
    data.dims = found.shape;
    if (found.dtype == support::DType::f32) {
        data.type = Type::f32;
        data.f32 = floats(name);
    } else if (found.dtype == support::DType::boolean) {
        data.type = Type::boolean;
        data.boolean = take(support::to_bool(found));
    } else {
        data.i32 = ints(name);
    }
    return data;
}

std::string GoldenFile::metadata(const std::string& name) const {
    const auto found = file_.metadata().find(name);
    REQUIRE_MESSAGE(found != file_.metadata().end(), "no metadata " << name);
    return found->second;
}

Shape GoldenFile::shape(const std::string& at) const {
    const std::vector<int32_t> dims = ints(at + "/shape");
    REQUIRE((dims.size() == 4 || dims.size() == 5));
    return {dims[0], dims[1], dims.size() == 5 ? dims[4] : dims[1], dims[2], dims[3]};
}

Bindings GoldenFile::tables(const std::string& at) const {
    Bindings bindings;
    for (const std::string& name : names_under(at + "/table/"))
        bindings.tables[name] = std::make_shared<const TableData>(table(at + "/table/" + name));
    for (const std::string& name : names_under(at + "/scalar/")) bindings.scalars[name] = scalar(at, name);
    return bindings;
}

int32_t GoldenFile::scalar(const std::string& at, const std::string& name) const {
    const std::vector<int32_t> values = ints(at + "/scalar/" + name);
    REQUIRE(values.size() == 1);
    return values[0];
}

std::vector<int32_t> GoldenFile::list(const std::string& at, const std::string& name) const {
    return ints(at + "/table/" + name);
}

PaddedBlocks GoldenFile::blocks(const std::string& at) const {
    const std::vector<int64_t> dims = tensor(at + "/kv_indices").shape;
    REQUIRE(dims.size() == 4);
    PaddedBlocks blocks;
    blocks.batch = static_cast<int32_t>(dims[0]);
    blocks.heads = static_cast<int32_t>(dims[1]);
    blocks.rows = static_cast<int32_t>(dims[2]);
    blocks.columns = static_cast<int32_t>(dims[3]);
    blocks.num_blocks = ints(at + "/kv_num_blocks");
    blocks.indices = ints(at + "/kv_indices");
    blocks.full_num_blocks = ints(at + "/full_kv_num_blocks");
    blocks.full_indices = ints(at + "/full_kv_indices");
    return blocks;
}

int32_t window_of(int32_t q_len) { return q_len == 21 ? 5 : q_len == 90 ? 16 : 256; }
void bind_window(const Shape& shape, Bindings& bindings) { bindings.scalars["w"] = window_of(shape.q_len); }

Result<Mask> parsed_mask(const std::string& text, const Mask& with_types_of) {
    return parse_mask(text, declarations_of(with_types_of.tree()));
}

void check_dense(const std::vector<uint8_t>& expected, const Mask& mask, const Shape& shape, const Bindings& bindings) {
    const std::vector<uint8_t> dense = take(create_mask(mask, shape, bindings));
    REQUIRE(dense.size() == expected.size());
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < dense.size(); ++i) {
        if (dense[i] == expected[i]) continue;
        if (wrong++ == 0) first = i;
    }
    const size_t kv_len = static_cast<size_t>(shape.kv_len), q_len = static_cast<size_t>(shape.q_len);
    CHECK_MESSAGE(wrong == 0, wrong << " of " << dense.size() << " elements differ, first at row "
                                    << first / kv_len % q_len << ", key " << first % kv_len << ": expected "
                                    << int(expected[first]));
}

namespace {

// The text's tree, and that the mask comes back from its own text.
Mask text_of(const std::string& text, const Mask& mask) {
    REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
    const Mask printed = take(parsed_mask(take(to_text(mask)), mask));
    CHECK(same_tree(printed.tree(), mask.tree()));
    return take(parsed_mask(text, mask));
}

// "small" ... of a case.
std::vector<std::string> sizes_of(const GoldenFile& file, const std::string& name) {
    std::vector<std::string> sizes;
    for (const std::string& under : file.names_under(name + "/"))
        if (const size_t end = under.find("/shape"); end != std::string::npos) sizes.push_back(under.substr(0, end));
    REQUIRE_MESSAGE(!sizes.empty(), "no case " << name);
    return sizes;
}

// Returns how many block lists were compared.
int check_size(const GoldenFile& file, const std::string& at, const Mask& mask, const Mask& by_text,
               const Bindings& bindings) {
    CAPTURE(at);
    const Shape shape = file.shape(at);
    if (file.has(at + "/mask")) check_element_wise(file, at, mask, by_text, shape, bindings);
    std::set<std::string> block_sizes;  // "16x32" of at/16x32/kv_indices
    for (const std::string& name : file.names_under(at + "/"))
        if (const size_t end = name.find("/kv_indices"); end != std::string::npos)
            block_sizes.insert(name.substr(0, end));
    for (const std::string& block_size : block_sizes) {
        ClassifyOptions options;
        char* rest = nullptr;
        options.block_q = static_cast<int32_t>(std::strtol(block_size.c_str(), &rest, 10));
        options.block_kv = static_cast<int32_t>(std::strtol(rest + 1, nullptr, 10));
        const BlockMask ours = take(create_block_mask(mask, shape, bindings, options));
        check_blocks(file, at + "/" + block_size, ours);
        CHECK(take(create_block_mask(by_text, shape, bindings, options)).runs == ours.runs);
    }
    // No score mod: float64 on both sides, so only the order of additions differs.
    if (file.has(at + "/o")) check_attention(file, at, mask, {}, bindings, 1e-13);
    return static_cast<int>(block_sizes.size());
}

}  // namespace

int check_mask(const GoldenFile& file, const MaskCase& mask_case) {
    CAPTURE(mask_case.name);
    const Mask by_text = text_of(mask_case.text, mask_case.mask);
    int lists = 0;
    for (const std::string& size : sizes_of(file, mask_case.name)) {
        const std::string at = mask_case.name + "/" + size;
        Bindings bindings = file.tables(at);
        if (mask_case.scalars) mask_case.scalars(file.shape(at), bindings);
        lists += check_size(file, at, mask_case.mask, by_text, bindings);
    }
    return lists;
}

int check_mask(const GoldenFile& file, const SizedCase& sized_case) {
    CAPTURE(sized_case.name);
    int lists = 0;
    for (const std::string& size : sizes_of(file, sized_case.name)) {
        const std::string at = sized_case.name + "/" + size;
        CAPTURE(at);
        const Mask mask = sized_case.make(at);
        const Mask by_text = text_of(sized_case.text(at), mask);
        Bindings bindings = file.tables(at);
        for (const TableRef& table : mask.tree().tables)
            if (table.captured) bindings.tables[table.name] = table.captured;
        lists += check_size(file, at, mask, by_text, bindings);
    }
    return lists;
}

void check_attention(const GoldenFile& file, const std::string& at, const Mask& mask, const ScoreMod& score_mod,
                     const Bindings& bindings, double tolerance) {
    CAPTURE(at);
    const std::vector<float> q = file.floats("inputs/q"), k = file.floats("inputs/k"), v = file.floats("inputs/v");
    const std::vector<int64_t> q_dims = file.dims("inputs/q"), v_dims = file.dims("inputs/v");
    ReferenceInput input;
    input.shape = file.shape(at);
    input.shape.kv_heads = static_cast<int32_t>(v_dims[1]);
    input.head_dim = static_cast<int32_t>(q_dims[3]);
    input.value_dim = static_cast<int32_t>(v_dims[3]);
    input.scale = 1.0 / std::sqrt(static_cast<double>(input.head_dim));
    input.q = q.data();
    input.k = k.data();
    input.v = v.data();
    REQUIRE(q_dims[2] == input.shape.q_len);
    REQUIRE(v_dims[2] == input.shape.kv_len);
    const ReferenceOutput output = take(reference_attention(mask, score_mod, bindings, input));
    const auto check_close = [&](const std::vector<double>& ours, const std::vector<double>& theirs, const char* what) {
        CAPTURE(what);
        REQUIRE(ours.size() == theirs.size());
        double worst = 0;
        for (size_t i = 0; i < ours.size(); ++i) {
            // A row without keys: o is 0, lse is -inf, on both sides exactly.
            const double error = ours[i] == theirs[i] ? 0 : std::fabs(ours[i] - theirs[i]);
            worst = error <= worst ? worst : error;
        }
        CHECK(worst <= tolerance);
    };
    check_close(output.o, file.doubles(at + "/o"), "o");
    check_close(output.lse, file.doubles(at + "/lse"), "lse");
}

}  // namespace vkattn::test
