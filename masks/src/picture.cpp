#include "vkattn/picture.h"

#include <algorithm>
#include <cstdio>

namespace vkattn {
namespace {

struct Colour {
    uint8_t r, g, b;
};
constexpr Colour kFull{0x1f, 0x4e, 0x79}, kPartial{0xf2, 0xa9, 0x3b}, kEmpty{0xf4, 0xf4, 0xf1};

// How many full and partial blocks lie in each cell of a grid laid over the blocks. Cell (y, x) covers block rows
// [y rows / height, (y + 1) rows / height), columns likewise.
class CellCounts {
  public:
    CellCounts(const BlockMask& block_mask, int32_t b, int32_t h, int32_t width, int32_t height)
        : rows_(block_mask.rows()),
          columns_(block_mask.columns()),
          width_(width),
          height_(height),
          cells_(static_cast<size_t>(width) * static_cast<size_t>(height)) {
        const int64_t plane =
            int64_t{std::clamp(b, 0, block_mask.batch - 1)} * block_mask.heads + std::clamp(h, 0, block_mask.heads - 1);
        for (int64_t y = 0; y < height_; ++y) {
            for (int64_t row = y * rows_ / height_; row < (y + 1) * rows_ / height_; ++row) {
                const auto i = static_cast<size_t>(plane * rows_ + row);
                for (uint32_t r = block_mask.row_offsets[i]; r < block_mask.row_offsets[i + 1]; ++r)
                    add(y, block_mask.runs[r]);
            }
        }
    }
    int64_t blocks(int64_t y, int64_t x) const {
        return ((y + 1) * rows_ / height_ - y * rows_ / height_) *
               ((x + 1) * columns_ / width_ - x * columns_ / width_);
    }
    int64_t full(int64_t y, int64_t x) const { return cells_[static_cast<size_t>(y * width_ + x)].full; }
    int64_t partial(int64_t y, int64_t x) const { return cells_[static_cast<size_t>(y * width_ + x)].partial; }
    BlockKind kind(int64_t y, int64_t x) const {
        if (full(y, x) == blocks(y, x)) return BlockKind::full;
        return full(y, x) + partial(y, x) == 0 ? BlockKind::empty : BlockKind::partial;
    }

  private:
    struct Cell {
        int64_t full = 0, partial = 0;
    };
    void add(int64_t y, const BlockRun& run) {
        const int64_t begin = run.first(), end = begin + run.n_blocks;
        for (int64_t x = begin * width_ / columns_; x < width_ && x * columns_ / width_ < end; ++x) {
            const int64_t overlap = std::min(end, (x + 1) * columns_ / width_) - std::max(begin, x * columns_ / width_);
            Cell& cell = cells_[static_cast<size_t>(y * width_ + x)];
            (run.full() ? cell.full : cell.partial) += overlap;
        }
    }

    int64_t rows_, columns_, width_, height_;
    std::vector<Cell> cells_;
};

// "1000 x 900 (q x kv), blocks of 128 x 128: 20 full, 12 partial, 24 empty of 56, 42.9 % sparse"
std::string header(const BlockMask& block_mask) {
    const int64_t full = block_mask.full_blocks(), partial = block_mask.partial_blocks();
    const int64_t total = int64_t{block_mask.batch} * block_mask.heads * block_mask.rows() * block_mask.columns();
    char sparsity[32];
    std::snprintf(sparsity, sizeof sparsity, "%.1f", block_mask.sparsity());
    std::string text = std::to_string(block_mask.shape.q_len) + " x " + std::to_string(block_mask.shape.kv_len) +
                       " (q x kv), blocks of " + std::to_string(block_mask.block_q) + " x " +
                       std::to_string(block_mask.block_kv) + ": " + std::to_string(full) + " full, " +
                       std::to_string(partial) + " partial, " + std::to_string(total - full - partial) + " empty of " +
                       std::to_string(total) + ", " + sparsity + " % sparse";
    return text;
}

// Which of several lists is drawn: "; batch 1 of 2, head 0 of 4", counted from 0. Empty when there is one.
std::string which(const BlockMask& block_mask, int32_t b, int32_t h) {
    std::string text;
    if (block_mask.batch > 1)
        text += "; batch " + std::to_string(std::clamp(b, 0, block_mask.batch - 1)) + " of " +
                std::to_string(block_mask.batch);
    if (block_mask.heads > 1)
        text += "; head " + std::to_string(std::clamp(h, 0, block_mask.heads - 1)) + " of " +
                std::to_string(block_mask.heads);
    return text;
}

const char* glyph(BlockKind kind) { return kind == BlockKind::full ? "█" : kind == BlockKind::partial ? "▒" : "·"; }
const char* ansi(BlockKind kind) {
    return kind == BlockKind::full ? "\x1b[34m" : kind == BlockKind::partial ? "\x1b[33m" : "\x1b[90m";
}
constexpr const char* kAnsiReset = "\x1b[0m";

std::string hex(Colour colour) {
    char text[8];
    std::snprintf(text, sizeof text, "#%02x%02x%02x", static_cast<unsigned>(colour.r), static_cast<unsigned>(colour.g),
                  static_cast<unsigned>(colour.b));
    return text;
}

std::string rectangle(int64_t x, int64_t y, int64_t width, int64_t height, bool full) {
    return std::string("<rect class=\"") + (full ? "f" : "p") + "\" x=\"" + std::to_string(x) + "\" y=\"" +
           std::to_string(y) + "\" width=\"" + std::to_string(width) + "\" height=\"" + std::to_string(height) +
           "\"/>\n";
}

}  // namespace

std::string terminal_picture(const BlockMask& block_mask, const PictureOptions& options) {
    std::string text = header(block_mask) + which(block_mask, options.b, options.h) + "\n";
    const int32_t width = std::min(block_mask.columns(), std::max(options.max_width, 1));
    const int32_t height = std::min(block_mask.rows(), std::max(options.max_height, 1));
    const bool any = width > 0 && height > 0;
    if (any) {
        const CellCounts cells(block_mask, options.b, options.h, width, height);
        for (int32_t y = 0; y < height; ++y) {
            BlockKind shown = BlockKind::empty;
            for (int32_t x = 0; x < width; ++x) {
                const BlockKind kind = cells.kind(y, x);
                if (options.colour && (x == 0 || kind != shown)) text += ansi(kind);
                text += glyph(kind);
                shown = kind;
            }
            if (options.colour) text += kAnsiReset;
            text += "\n";
        }
    }
    const auto legend = [&](BlockKind kind, const char* word) {
        return (options.colour ? std::string(ansi(kind)) + glyph(kind) + kAnsiReset : std::string(glyph(kind))) + " " +
               word;
    };
    text += legend(BlockKind::full, "full") + "  " + legend(BlockKind::partial, "partial") + "  " +
            legend(BlockKind::empty, "empty");
    if (any && (width < block_mask.columns() || height < block_mask.rows())) {
        text += "  (" + std::to_string(block_mask.rows()) + " x " + std::to_string(block_mask.columns()) +
                " blocks drawn as " + std::to_string(height) + " x " + std::to_string(width) + ")";
    }
    return text + "\n";
}

std::string svg_picture(const BlockMask& block_mask, const PictureOptions& options) {
    const int64_t q_len = block_mask.shape.q_len, kv_len = block_mask.shape.kv_len;
    const int64_t width = std::max<int64_t>(kv_len, 1), height = std::max<int64_t>(q_len, 1),
                  longer = std::max(width, height);
    constexpr int64_t shown_px = 640;  // the longer side; the shorter one keeps the proportions
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
                      std::to_string(std::max<int64_t>(1, width * shown_px / longer)) + "\" height=\"" +
                      std::to_string(std::max<int64_t>(1, height * shown_px / longer)) + "\" viewBox=\"0 0 " +
                      std::to_string(width) + " " + std::to_string(height) +
                      "\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">\n";
    svg += "<title>" + header(block_mask) + which(block_mask, options.b, options.h) + "</title>\n";
    svg += "<style>.f{fill:" + hex(kFull) + "}.p{fill:" + hex(kPartial) + "}</style>\n";
    svg += "<rect width=\"" + std::to_string(width) + "\" height=\"" + std::to_string(height) + "\" fill=\"" +
           hex(kEmpty) + "\"/>\n";

    struct Open {  // a rectangle that may go on into the next row
        BlockRun run;
        int64_t first_row;
    };
    std::vector<Open> open, next;
    const int64_t rows = block_mask.rows();
    const int64_t plane = int64_t{std::clamp(options.b, 0, block_mask.batch - 1)} * block_mask.heads +
                          std::clamp(options.h, 0, block_mask.heads - 1);
    const auto close = [&](const Open& done, int64_t end_row) {
        const int64_t x = int64_t{done.run.first()} * block_mask.block_kv, y = done.first_row * block_mask.block_q;
        const int64_t x_end = std::min(kv_len, x + int64_t{done.run.n_blocks} * block_mask.block_kv);
        svg += rectangle(x, y, x_end - x, std::min(q_len, end_row * block_mask.block_q) - y, done.run.full());
    };
    for (int64_t row = 0; row < rows; ++row) {
        next.clear();
        size_t candidate = 0;  // both lists ascend by first block
        const auto i = static_cast<size_t>(plane * rows + row);
        for (uint32_t r = block_mask.row_offsets[i]; r < block_mask.row_offsets[i + 1]; ++r) {
            const BlockRun& run = block_mask.runs[r];
            for (; candidate < open.size() && open[candidate].run.first() < run.first(); ++candidate)
                close(open[candidate], row);
            if (candidate < open.size() && open[candidate].run == run) next.push_back(open[candidate++]);
            else next.push_back({run, row});
        }
        for (; candidate < open.size(); ++candidate) close(open[candidate], row);
        open.swap(next);
    }
    for (const Open& last : open) close(last, rows);
    return svg + "</svg>\n";
}

Raster raster_picture(const BlockMask& block_mask, int32_t max_side, int32_t b, int32_t h) {
    Raster raster;
    const int64_t rows = block_mask.rows(), columns = block_mask.columns(), side = std::max(max_side, 1);
    if (rows == 0 || columns == 0) return raster;
    const int64_t longer = std::max(rows, columns), factor = std::clamp<int64_t>(side / longer, 1, 16);
    const auto cells_of = [&](int64_t n) {
        return static_cast<int32_t>(longer <= side ? n : std::max<int64_t>(1, n * side / longer));
    };
    const int32_t cells_wide = cells_of(columns), cells_high = cells_of(rows);
    const CellCounts cells(block_mask, b, h, cells_wide, cells_high);
    raster.width = static_cast<int32_t>(cells_wide * factor);
    raster.height = static_cast<int32_t>(cells_high * factor);
    raster.rgb.resize(static_cast<size_t>(raster.width) * static_cast<size_t>(raster.height) * 3);
    for (int64_t y = 0; y < raster.height; ++y) {
        for (int64_t x = 0; x < raster.width; ++x) {
            const int64_t cell_y = y / factor, cell_x = x / factor;
            const int64_t full = cells.full(cell_y, cell_x), partial = cells.partial(cell_y, cell_x),
                          total = cells.blocks(cell_y, cell_x);
            const auto mixed = [&](uint8_t f, uint8_t p, uint8_t e) {
                return static_cast<uint8_t>((f * full + p * partial + e * (total - full - partial) + total / 2) /
                                            total);
            };
            const auto at = static_cast<size_t>((y * raster.width + x) * 3);
            raster.rgb[at] = mixed(kFull.r, kPartial.r, kEmpty.r);
            raster.rgb[at + 1] = mixed(kFull.g, kPartial.g, kEmpty.g);
            raster.rgb[at + 2] = mixed(kFull.b, kPartial.b, kEmpty.b);
        }
    }
    return raster;
}

}  // namespace vkattn
