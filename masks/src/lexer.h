// Tokens of mask and score mod text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vkattn::detail {

enum class TokenKind : uint8_t { end, integer, floating, name, symbol, invalid };

struct Token {
    TokenKind kind = TokenKind::end;
    std::string_view text;
    int32_t column = 0;         // bytes, from 1
    uint32_t bits = 0;          // of a number's value
    bool minus_needed = false;  // 2147483648: only as the operand of a unary minus
    std::string problem;        // of an invalid token

    bool is(std::string_view symbol) const { return kind == TokenKind::symbol && text == symbol; }
};

// A cursor over the text; copying it is looking ahead.
class Lexer {
  public:
    explicit Lexer(std::string_view text) : text_(text) {}
    Token next();

  private:
    Token number(Token token);

    std::string_view text_;
    size_t at_ = 0;
};

}  // namespace vkattn::detail
