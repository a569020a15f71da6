#include "lexer.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <version>
#ifndef __cpp_lib_to_chars
#include <clocale>
#include <cstdlib>
#endif

namespace vkattn::detail {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

Token invalid(Token token, std::string problem) {
    token.kind = TokenKind::invalid;
    token.problem = std::move(problem);
    return token;
}

std::string hex_byte(unsigned char byte) {
    static constexpr char digits[] = "0123456789abcdef";
    return std::string("0x") + digits[byte >> 4] + digits[byte & 15];
}

// A whole decimal number as f32, rounded to nearest even. False where it lies outside of f32's range (also a number
// too small to be anything but 0 that is not written as 0).
bool parse_f32(std::string_view text, float& value) {
#ifdef __cpp_lib_to_chars
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) return false;
#else
    // libc++ before 20 has no from_chars for floats, and strtof reads the locale's decimal point.
    std::string local(text);
    if (const size_t point = local.find('.'); point != std::string::npos) {
        local.replace(point, 1, std::localeconv()->decimal_point);
    }
    value = std::strtof(local.c_str(), nullptr);
#endif
    const std::string_view mantissa = text.substr(0, text.find_first_of("eE"));
    return !std::isinf(value) && (value != 0.0f || mantissa.find_first_of("123456789") == std::string_view::npos);
}

}  // namespace

Token Lexer::number(Token token) {
    const size_t begin = at_;
    const auto peek = [&](size_t ahead) { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; };
    const bool hex = peek(0) == '0' && (peek(1) == 'x' || peek(1) == 'X');
    bool floating = false;
    if (hex) {
        at_ += 2;
        while (is_hex(peek(0))) ++at_;
    } else {
        while (is_digit(peek(0))) ++at_;
        if (peek(0) == '.') {
            floating = true;
            ++at_;
            while (is_digit(peek(0))) ++at_;
        }
        if (peek(0) == 'e' || peek(0) == 'E') {
            const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
            if (is_digit(peek(1 + sign))) {
                floating = true;
                at_ += 1 + sign;
                while (is_digit(peek(0))) ++at_;
            }
        }
    }
    token.text = text_.substr(begin, at_ - begin);
    const std::string shown(token.text.substr(0, 40));
    if (is_letter(peek(0)) || is_digit(peek(0)) || peek(0) == '.') {
        const bool suffix = floating && (peek(0) == 'f' || peek(0) == 'F') && !is_letter(peek(1)) && !is_digit(peek(1));
        return invalid(token,
                       suffix ? "a float has no suffix here; write " + shown
                              : "the number " + shown + " runs into '" + peek(0) + "'; put an operator between them");
    }
    if (floating) {
        float value = 0.0f;
        if (!parse_f32(token.text, value)) {
            return invalid(token, "the float " + shown +
                                      " is outside the range of f32 (about 1e-45 to 3.4e38); write inf for infinity");
        }
        token.kind = TokenKind::floating;
        token.bits = std::bit_cast<uint32_t>(value);
        return token;
    }
    const std::string_view digits = hex ? token.text.substr(2) : token.text;
    if (digits.empty()) return invalid(token, "0x needs hexadecimal digits after it");
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), token.bits, hex ? 16 : 10);
    if (result.ec != std::errc{} || (!hex && token.bits > 2147483648u)) {
        return invalid(token, hex ? "the number " + shown + " has more than 32 bits"
                                  : "the int " + shown + " does not fit 32 bits (-2147483648 to 2147483647)");
    }
    token.kind = TokenKind::integer;
    token.minus_needed = !hex && token.bits == 2147483648u;
    return token;
}

Token Lexer::next() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
        ++at_;
    Token token;
    token.column = static_cast<int32_t>(at_) + 1;
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (is_letter(c)) {
        const size_t begin = at_;
        while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
        token.kind = TokenKind::name;
        token.text = text_.substr(begin, at_ - begin);
        return token;
    }
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])))
        return number(std::move(token));
    static constexpr std::string_view symbols[] = {"||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "<", ">",
                                                   "+",  "-",  "*",  "/",  "%",  "!",  "&",  "|",  "^", "~",
                                                   "?",  ":",  "(",  ")",  "[",  "]",  ",",  "="};
    for (const std::string_view symbol : symbols) {
        if (text_.substr(at_, symbol.size()) != symbol) continue;
        token.kind = TokenKind::symbol;
        token.text = text_.substr(at_, symbol.size());
        at_ += symbol.size();
        return token;
    }
    token.text = text_.substr(at_, 1);
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
        return invalid(std::move(token), "the control character " + hex_byte(byte) + " has no meaning here");
    if (byte >= 0x80) {
        return invalid(std::move(token), "the byte " + hex_byte(byte) +
                                             " is not ASCII; names are letters, digits and _, comparisons <= and !=");
    }
    return invalid(std::move(token), std::string("the character '") + c + "' has no meaning here");
}

}  // namespace vkattn::detail
