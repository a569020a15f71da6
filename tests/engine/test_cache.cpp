// The disk cache: what is there is used, what is damaged is a cold start and is mended, and threads may plan side by side.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>

#include "harness/run_attention.h"
#include "vkattn/named.h"

using namespace vkattn_tests;

namespace {

namespace fs = std::filesystem;

class CacheFolder {
  public:
    CacheFolder()
        : path_(fs::temp_directory_path() /
                ("vkattn-cache-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()))) {}
    ~CacheFolder() { fs::remove_all(path_); }
    std::string name() const { return path_.string(); }
    std::vector<fs::path> files(const std::string& kind) const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(path_))
            if (entry.path().filename().string().rfind(kind, 0) == 0) found.push_back(entry.path());
        return found;
    }

  private:
    fs::path path_;
};

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const fs::path& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary);
    file << bytes;
}

AttentionCase not_shipped() {
    AttentionCase c;
    c.mask = "wrong_index";
    c.shape = {1, 2, 1, 33, 40};
    c.head_dim = c.value_dim = 8;
    return c;
}

RunResult run_with_cache(const AttentionCase& c, const std::string& folder) {
    const auto engine = make_engine(VulkanContext::shared(), {}, test_compiler(), folder);
    RunOptions options;
    options.engine = engine.get();
    return run_and_check(c, options);
}

}  // namespace

TEST_SUITE_BEGIN("cache");

TEST_CASE("a module is compiled once and then comes from the folder, with the same bits") {
    const CacheFolder folder;
    const AttentionCase c = not_shipped();
    const RunResult first = run_with_cache(c, folder.name());
    CHECK(first.report.module == "compiled");
    CHECK(folder.files("spirv").size() == 1);
    const RunResult second = run_with_cache(c, folder.name());
    CHECK(second.report.module == "disk cache");
    CHECK(same_bits(first, second));
    const RunResult without = run_with_cache(c, "");
    CHECK(without.report.module == "compiled");
    CHECK(same_bits(first, without));
}

TEST_CASE("damaged files are a cold start, and whole again after it") {
    const CacheFolder folder;
    const AttentionCase c = not_shipped();
    const RunResult first = run_with_cache(c, folder.name());
    REQUIRE(folder.files("spirv").size() == 1);
    const fs::path file = folder.files("spirv")[0];
    const std::string whole = read_file(file);
    REQUIRE(whole.size() > 200);

    std::vector<std::string> damaged;
    for (size_t size : {size_t{0}, size_t{1}, size_t{8}, size_t{79}, size_t{80}, size_t{100}, whole.size() - 1})
        damaged.push_back(whole.substr(0, size));
    for (size_t at : {size_t{0}, size_t{9}, size_t{41}, size_t{72}, size_t{79}, size_t{81}, whole.size() - 1}) {
        damaged.push_back(whole);
        damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 0x40);
    }
    damaged.push_back(whole + "more");
    damaged.push_back(std::string(100000, '\xff'));
    for (const std::string& bytes : damaged) {
        write_file(file, bytes);
        const RunResult again = run_with_cache(c, folder.name());
        CHECK(again.report.module == "compiled");
        CHECK(same_bits(first, again));
        CHECK(read_file(file) == whole);
    }
    for (const fs::path& pipelines : folder.files("pipelines")) write_file(pipelines, std::string(5000, '\x07'));
    CHECK(same_bits(first, run_with_cache(c, folder.name())));
}

TEST_CASE("a folder that cannot be made costs the next start, not this one") {
    const CacheFolder folder;
    write_file(folder.name(), "a file where the folder should be");
    const RunResult result = run_with_cache(not_shipped(), folder.name() + "/below");
    CHECK(result.report.module == "compiled");
    fs::remove(folder.name());
}

TEST_SUITE_END();

// Without dispatches: ThreadSanitizer does not see how drivers synchronise.
TEST_SUITE_BEGIN("threads");

TEST_CASE("threads plan side by side on two engines with one folder: one pipeline a variant") {
    const CacheFolder folder;
    constexpr int n_threads = 4, n_plans = 5;
    const std::unique_ptr<vkattn::Engine> engines[] = {
        make_engine(VulkanContext::shared(), {}, test_compiler(), folder.name()),
        make_engine(VulkanContext::shared(), {}, test_compiler(), folder.name())};
    std::vector<std::string> failures(n_threads);
    std::vector<std::thread> threads;
    for (int t = 0; t < n_threads; t++)
        threads.emplace_back([&, t] {
            for (int i = 0; i < n_plans; i++) {
                vkattn::Problem problem;
                problem.max_shape = {1, 2, 1, 64, 64};
                problem.head_dim = 8;
                problem.mask = *vkattn::parse_mask("(q + kv * " + std::to_string(i + 3) + ") % (kv + 2) < " +
                                                   std::string(static_cast<size_t>(i % 2 + 1), '(') + "q" +
                                                   std::string(static_cast<size_t>(i % 2 + 1), ')'));
                if (i >= 2) problem.mask = problem.mask && vkattn::causal();
                if (i >= 3) problem.score_mod = vkattn::softcap(20.0f);
                auto plan = engines[t % 2]->plan(problem);
                vkattn::ArgsInfo info;
                info.shape = {1, 2, 1, 60, t + 1};
                auto args = plan ? plan->make_args(info) : plan.status();
                if (!args) failures[static_cast<size_t>(t)] = args.status().message;
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& failure : failures) CHECK(failure == "");
    // Literals 3 to 7 and brackets are one structure; then with causal; then with softcap.
    CHECK(engines[0]->pipelines_created() == 3);
    CHECK(engines[1]->pipelines_created() == 3);
    CHECK(folder.files("spirv").size() == 3);
}

TEST_SUITE_END();
