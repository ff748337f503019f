//! What a scalar without quotes means: the core schema of YAML 1.2 (section 10.3.2), with numbers exactly as they are
//! spelt where JSON can say that.
//!
//! What the schema leaves open or others read differently: digits behind a leading zero (`017`: 15, 17 or text, by
//! reader) are text, so that nothing of them is lost, as are `yes`, `1_000`, `1:30` and dates; `0b11` is a number, as for
//! most readers.

use std::borrow::Cow;

use granit_parser::{ScalarStyle, Tag};

use super::{Scalar, Wrong};

/// A number that JSON cannot say.
enum Unsayable {
    /// `.inf` or `.nan`.
    NotFinite,
    /// Hexadecimal, octal or binary, of more than 128 bits.
    TooWide,
}

/// What a scalar means, by its tag or, without one, by its style.
pub(super) fn tagged<'t>(text: Cow<'t, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar<'t>, Wrong> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { resolve(text) } else { Ok(Scalar::Text(text)) };
    };
    if is_tag(tag, "str") {
        return Ok(Scalar::Text(text));
    }
    let wrong = Wrong::NotJson { what: format!("{text:?} as {}", tag.original()), remedy: "correct value or tag" };
    match (tag.core_suffix(), resolve(text)?) {
        (Some("null"), scalar @ Scalar::Null) | (Some("bool"), scalar @ Scalar::Bool(_)) => Ok(scalar),
        (Some("float"), Scalar::Number(text)) => Ok(Scalar::Number(text)),
        (Some("int"), Scalar::Number(text)) if !text.contains(['.', 'e', 'E']) => Ok(Scalar::Number(text)),
        (Some("null" | "bool" | "int" | "float"), _) => Err(wrong),
        _ => Err(unknown_tag(tag)),
    }
}

/// Whether a tag says of a value only what is so without it: `!!str`, `!!seq`, `!!map`, or `!`.
pub(super) fn is_tag(tag: &Tag, name: &str) -> bool {
    tag.core_suffix() == Some(name) || tag.original() == "!"
}

pub(super) fn unknown_tag(tag: &Tag) -> Wrong {
    Wrong::NotJson { what: format!("tag {}", tag.original()), remedy: "write the value without a tag" }
}

/// What plain text means.
fn resolve(text: Cow<'_, str>) -> Result<Scalar<'_>, Wrong> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        "true" | "True" | "TRUE" => return Ok(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Scalar::Bool(false)),
        _ => {}
    }
    let remedy = match number(&text) {
        Ok(Some(Spelling::AsItIs)) => return Ok(Scalar::Number(text)),
        Ok(Some(Spelling::Other(number))) => return Ok(Scalar::Number(number.into())),
        Ok(None) => return Ok(Scalar::Text(text)),
        Err(Unsayable::NotFinite) => "write a finite number, a string or null",
        Err(Unsayable::TooWide) => "write a number of more than 128 bits in decimal",
    };
    Err(Wrong::NotJson { what: text.into_owned(), remedy })
}

/// How JSON writes a number.
enum Spelling {
    AsItIs,
    Other(String),
}

/// The number that a text is, as JSON writes it; none: it is none.
fn number(text: &str) -> Result<Option<Spelling>, Unsayable> {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(Unsayable::NotFinite);
    }
    let (minus, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Err(Unsayable::NotFinite);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            let is_number = !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix));
            return if is_number { in_decimal(minus, rest, radix).map(Some) } else { Ok(None) };
        }
    }
    Ok(decimal(text, minus, digits))
}

fn in_decimal(minus: &str, digits: &str, radix: u32) -> Result<Spelling, Unsayable> {
    match u128::from_str_radix(digits, radix) {
        Ok(0) => Ok(Spelling::Other("0".to_owned())),
        Ok(number) => Ok(Spelling::Other(format!("{minus}{number}"))),
        Err(_) => Err(Unsayable::TooWide),
    }
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, without what JSON does not allow: a plus sign, zeros
/// before the first digit, nothing on one side of the point.
fn decimal(text: &str, minus: &str, digits: &str) -> Option<Spelling> {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => digits.split_at(at),
        None => (digits, ""),
    };
    let power = exponent.get(1..).unwrap_or("0");
    if !all_digits(power.strip_prefix(['-', '+']).unwrap_or(power)) {
        return None;
    }
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_number = match (whole, fraction) {
        ("", Some(fraction)) => all_digits(fraction),
        (whole, Some("") | None) => all_digits(whole),
        (whole, Some(fraction)) => all_digits(whole) && all_digits(fraction),
    };
    if !is_number || (exponent.is_empty() && fraction.is_none() && whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    let trimmed = whole.trim_start_matches('0');
    let in_json = if trimmed.is_empty() { "0" } else { trimmed };
    if in_json == whole && fraction != Some("") && !text.starts_with('+') {
        return Some(Spelling::AsItIs);
    }
    let (point, fraction) = match fraction {
        None => ("", ""),
        Some("") => (".", "0"),
        Some(fraction) => (".", fraction),
    };
    Some(Spelling::Other(format!("{minus}{in_json}{point}{fraction}{exponent}")))
}

/// Bytes of a text as a JSON string in canonical form.
pub(super) fn json_len(text: &str) -> usize {
    let byte_len = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(byte_len).sum::<usize>()
}
