// Paths and cases as data: every line can be run, every failure replayed.
#include <doctest/doctest.h>

#include <set>

#include "case_table.h"
#include "device_worker.h"
#include "harness/inputs.h"
#include "tested_paths.h"

using namespace vkattn_tests;

TEST_CASE("names are told apart, and every path has something to say in every table") {
    std::set<std::string_view> paths;
    for (const TestedPath& path : tested_paths()) {
        CHECK(paths.insert(path.name).second);
        CHECK(find_path(path.name) == &path);
        CHECK(path.name.find(':') == std::string_view::npos);  // ends the name in a replay line
        for (const Table table : {Table::quick, Table::standard}) {
            size_t taken = 0, bits = 0;
            for (const TestedCase& one : case_table(table))
                if (takes(path, one.attention_case)) taken++, bits += one.bits ? 1 : 0;
            CHECK_MESSAGE(taken >= 2, path.name);
            CHECK_MESSAGE(bits >= 1, path.name);
        }
    }
    CHECK(find_path("rows") == nullptr);
    CHECK(case_table(Table::quick).size() < case_table(Table::standard).size());
}

TEST_CASE("a quick run tests every case on every kind of path, and every path for same bits") {
    Task task;
    task.brief = true;
    task.cases = case_table(Table::quick);
    for (const TestedPath& path : tested_paths()) task.paths.push_back(&path);
    for (const TestedPath* path : task.paths) {
        size_t bits = 0;
        for (size_t i = 0; i < task.cases.size(); i++) bits += is_tested(task, *path, i) && task.cases[i].bits ? 1 : 0;
        CHECK_MESSAGE(bits >= 1, path->name);
    }
    for (size_t i = 0; i < task.cases.size(); i++) {
        std::set<std::string_view> kinds;
        for (const TestedPath* path : task.paths)
            if (is_tested(task, *path, i)) kinds.insert(path->name.substr(0, path->name.find('-')));
        for (const char* kind : {"automatic", "tiles", "decode", "khr", "nv"})
            CHECK_MESSAGE(kinds.count(kind) == 1, task.cases[i].name << ": " << kind);
    }
}

TEST_CASE("every case of the full table has a name of its own, inputs, and a text that makes it again") {
    std::set<std::string> names;
    const auto cases = case_table(Table::full);
    CHECK(cases.size() > 150);
    for (const TestedCase& one : cases) {
        CHECK_MESSAGE(names.insert(one.name).second, one.name);
        const auto again = read_case(to_text(one.attention_case));
        REQUIRE_MESSAGE(again.ok(), one.name);
        CHECK(to_text(*again) == to_text(one.attention_case));
        CHECK_MESSAGE(inputs_for(one.attention_case).ok(), one.name);
    }
    const std::string line = replay_line(3, *find_path("rows-address"), cases.front().attention_case);
    CHECK(line.find("--device 3 --replay 'rows-address: mask=full") != std::string::npos);
}

// The shape of the table, not its length: what a reader of the page expects to be tested is in it.
TEST_CASE("the standard table has every mask, score mod, type, schedule and layout") {
    std::set<std::string> masks, scores;
    std::set<int> types, schedules, layouts, poisons;
    for (const TestedCase& one : case_table(Table::standard)) {
        const AttentionCase& c = one.attention_case;
        masks.insert(c.mask);
        scores.insert(c.score);
        for (const vkattn::ElementType type : {c.q_type, c.k_type, c.v_type, c.o_type})
            types.insert(static_cast<int>(type));
        schedules.insert(static_cast<int>(c.schedule));
        layouts.insert(static_cast<int>(c.layout));
        poisons.insert(static_cast<int>(c.poison));
    }
    for (const MaskEntry& mask : mask_entries()) CHECK_MESSAGE(masks.count(std::string(mask.name)) == 1, mask.name);
    for (const ScoreEntry& score : score_entries())
        CHECK_MESSAGE(scores.count(std::string(score.name)) == 1, score.name);
    CHECK(types.size() == 3);
    CHECK(schedules.size() == 3);
    CHECK(layouts.size() == 6);
    CHECK(poisons.size() == 2);
}
