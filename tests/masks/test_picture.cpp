// Pictures of tiny masks, compared to the letter; of large ones, to their limits.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "vkattn/classify.h"
#include "vkattn/named.h"
#include "vkattn/picture.h"

using namespace vkattn;

namespace {

BlockMask picture_of(const Mask& mask, int32_t q_len, int32_t kv_len, int32_t block_q, int32_t block_kv) {
    ClassifyOptions options;
    options.block_q = block_q;
    options.block_kv = block_kv;
    Result<BlockMask> made = create_block_mask(mask, {2, 2, 1, q_len, kv_len}, {}, options);
    REQUIRE(made.ok());
    return *made;
}

// Terminal columns of a line: code points.
size_t width_of(const std::string& line) {
    return static_cast<size_t>(std::count_if(line.begin(), line.end(),
                                             [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

}  // namespace

TEST_CASE("the terminal picture, to the letter") {
    CHECK(terminal_picture(picture_of(causal(), 8, 10, 2, 2)) ==
          "8 x 10 (q x kv), blocks of 2 x 2: 6 full, 4 partial, 10 empty of 20, 50.0 % sparse\n"
          "▒····\n"
          "█▒···\n"
          "██▒··\n"
          "███▒·\n"
          "█ full  ▒ partial  · empty\n");
}

TEST_CASE("a cell that stands for several kinds is partial") {
    PictureOptions options;
    options.max_width = 3;
    options.max_height = 2;
    CHECK(terminal_picture(picture_of(causal(), 8, 10, 2, 2), options) ==
          "8 x 10 (q x kv), blocks of 2 x 2: 6 full, 4 partial, 10 empty of 20, 50.0 % sparse\n"
          "▒▒·\n"
          "█▒▒\n"
          "█ full  ▒ partial  · empty  (4 x 5 blocks drawn as 2 x 3)\n");
}

TEST_CASE("every cell of every scale: full or empty when all of its blocks are") {
    const BlockMask made = picture_of(
        trace_mask([](Index, Index, Index q, Index kv) { return (q / 5 + kv / 3) % 4 > 1 && q != kv; }), 41, 67, 3, 2);
    const int rows = made.rows(), columns = made.columns();
    for (int height = 1; height <= rows; ++height) {
        for (int width = 1; width <= columns; width += 1 + height % 3) {
            std::string expected;
            for (int y = 0; y < height; ++y) {
                for (int x = 0; x < width; ++x) {
                    bool all_full = true, all_empty = true;
                    for (int row = y * rows / height; row < (y + 1) * rows / height; ++row) {
                        for (int column = x * columns / width; column < (x + 1) * columns / width; ++column) {
                            const BlockKind kind = made.kind(0, 0, row, column);
                            all_full = all_full && kind == BlockKind::full;
                            all_empty = all_empty && kind == BlockKind::empty;
                        }
                    }
                    expected += all_full ? "█" : all_empty ? "·" : "▒";
                }
                expected += "\n";
            }
            PictureOptions options;
            options.max_width = width;
            options.max_height = height;
            const std::string text = terminal_picture(made, options);
            const size_t begin = text.find('\n') + 1;
            CHECK_MESSAGE(text.substr(begin, expected.size()) == expected, "drawn as ", height, " x ", width);
        }
    }
}

TEST_CASE("one of several lists, colours, and masks without blocks") {
    const Mask by_head = trace_mask([](Index, Index h, Index q, Index kv) { return kv <= q && h == 1; });
    const BlockMask made = picture_of(by_head, 4, 4, 2, 2);
    PictureOptions options;
    options.h = 1;
    CHECK(terminal_picture(made, options) ==
          "4 x 4 (q x kv), blocks of 2 x 2: 1 full, 2 partial, 5 empty of 8, 62.5 % sparse; head 1 of 2\n"
          "▒·\n"
          "█▒\n"
          "█ full  ▒ partial  · empty\n");
    options.h = 0;
    options.colour = true;
    CHECK(terminal_picture(made, options) ==
          "4 x 4 (q x kv), blocks of 2 x 2: 1 full, 2 partial, 5 empty of 8, 62.5 % sparse; head 0 of 2\n"
          "\x1b[90m··\x1b[0m\n"
          "\x1b[90m··\x1b[0m\n"
          "\x1b[34m█\x1b[0m full  \x1b[33m▒\x1b[0m partial  \x1b[90m·\x1b[0m empty\n");
    options.h = 99;  // clamped
    options.b = -3;
    CHECK(terminal_picture(made, options).find("head 1 of 2") != std::string::npos);
    CHECK(terminal_picture(picture_of(causal(), 0, 5, 2, 2)) ==
          "0 x 5 (q x kv), blocks of 2 x 2: 0 full, 0 partial, 0 empty of 0, 0.0 % sparse\n"
          "█ full  ▒ partial  · empty\n");
}

TEST_CASE("a large mask fits the terminal") {
    const BlockMask made = picture_of(causal(), 1 << 20, 1 << 19, 128, 128);
    PictureOptions options;
    options.max_width = 61;
    options.max_height = 17;
    const std::string text = terminal_picture(made, options);
    size_t lines = 0, grid_lines = 0;
    for (size_t begin = 0; begin < text.size(); ++lines) {
        const size_t end = text.find('\n', begin);
        const std::string line = text.substr(begin, end - begin);
        if (lines > 0 && lines <= 17) {
            CHECK(width_of(line) == 61);
            ++grid_lines;
        }
        begin = end + 1;
    }
    CHECK(grid_lines == 17);
    CHECK(lines == 19);
    CHECK(text.find("(8192 x 4096 blocks drawn as 17 x 61)") != std::string::npos);
}

TEST_CASE("the SVG picture: equal runs of neighbouring rows are one rectangle, ragged blocks end with the mask") {
    const std::string svg = svg_picture(picture_of(sliding_window(1), 5, 5, 2, 2));
    CHECK(svg == "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"640\" viewBox=\"0 0 5 5\" "
                 "preserveAspectRatio=\"none\" "
                 "shape-rendering=\"crispEdges\">\n"
                 "<title>5 x 5 (q x kv), blocks of 2 x 2: 1 full, 4 partial, 4 empty of 9, 44.4 % sparse</title>\n"
                 "<style>.f{fill:#1f4e79}.p{fill:#f2a93b}</style>\n"
                 "<rect width=\"5\" height=\"5\" fill=\"#f4f4f1\"/>\n"
                 "<rect class=\"p\" x=\"0\" y=\"0\" width=\"2\" height=\"2\"/>\n"
                 "<rect class=\"p\" x=\"0\" y=\"2\" width=\"4\" height=\"2\"/>\n"
                 "<rect class=\"p\" x=\"2\" y=\"4\" width=\"2\" height=\"1\"/>\n"
                 "<rect class=\"f\" x=\"4\" y=\"4\" width=\"1\" height=\"1\"/>\n"
                 "</svg>\n");
    const auto rectangles = [](const std::string& text) {
        size_t count = 0;
        for (size_t at = text.find("<rect class"); at != std::string::npos; at = text.find("<rect class", at + 1))
            ++count;
        return count;
    };
    CHECK(rectangles(svg_picture(picture_of(full(), 1000, 900, 10, 10))) == 1);
    // every row has its own partial block, and all but the first a full run that is longer than the row's before
    CHECK(rectangles(svg_picture(picture_of(causal(), 1 << 20, 1 << 20, 128, 128))) == 8192 + 8191);
    CHECK(svg_picture(picture_of(full(), 0, 0, 1, 1)).find("</svg>") != std::string::npos);
    CHECK(svg_picture(picture_of(full(), 100, 400, 10, 10)).find("width=\"640\" height=\"160\"") != std::string::npos);
}

TEST_CASE("the raster: enlarged by a whole factor, averaged down, proportions kept") {
    const auto pixel = [](const Raster& raster, int x, int y) {
        const auto at = static_cast<size_t>((y * raster.width + x) * 3);
        return std::vector<int>{raster.rgb[at], raster.rgb[at + 1], raster.rgb[at + 2]};
    };
    const std::vector<int> full_colour{0x1f, 0x4e, 0x79}, partial_colour{0xf2, 0xa9, 0x3b},
        empty_colour{0xf4, 0xf4, 0xf1};
    const Raster small = raster_picture(picture_of(causal(), 8, 10, 2, 2));
    CHECK(small.width == 5 * 16);
    CHECK(small.height == 4 * 16);
    CHECK(small.rgb.size() == size_t{80} * 64 * 3);
    CHECK(pixel(small, 0, 0) == partial_colour);
    CHECK(pixel(small, 15, 31) == full_colour);
    CHECK(pixel(small, 16, 15) == empty_colour);
    CHECK(pixel(small, 79, 63) == empty_colour);
    const Raster tight = raster_picture(picture_of(causal(), 8, 10, 2, 2), 14);
    CHECK(tight.width == 10);  // factor 2
    CHECK(tight.height == 8);
    const Raster large = raster_picture(picture_of(causal(), 1 << 20, 1 << 19, 128, 128), 256);
    CHECK(large.width == 128);
    CHECK(large.height == 256);
    CHECK(pixel(large, 0, 255) == full_colour);
    CHECK(pixel(large, 127, 0) == empty_colour);
    const std::vector<int> mixed = pixel(large, 10, 10);  // half of its blocks are full
    CHECK(mixed[0] > full_colour[0]);
    CHECK(mixed[0] < empty_colour[0]);
    CHECK(raster_picture(picture_of(full(), 0, 5, 1, 1)).rgb.empty());
}
