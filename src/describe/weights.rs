//! Lists whose members have a weight (RFC 9110, section 12.4.2), as `Accept` and `Accept-Encoding`.

use http::{HeaderMap, HeaderName};

/// The members of all fields of this name, in lower case and without parameters, each with its
/// weight in thousandths; 1000 where it has none, 0 where that is malformed.
pub(super) fn weighted(fields: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = (String, u16)> {
    let lists = fields.get_all(name).iter().map(|value| value.to_str().unwrap_or(""));
    lists.flat_map(|list| list.split(',')).map(|member| {
        let mut parts = member.split(';');
        let name = parts.next().unwrap_or("").trim().to_ascii_lowercase();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
        });
        (name, weight.unwrap_or(1000))
    })
}

fn thousandths(text: &str) -> u16 {
    let value: f32 = text.parse().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
    let thousandths = (value.clamp(0.0, 1.0) * 1000.0).round() as u16;
    thousandths
}
