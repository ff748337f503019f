//! Whether a client asks for something else than JSON: `Accept` (RFC 9110, section 12.5.1) names it with a quality above that
//! of JSON. What it names never leads to a refusal: a full state is served to everyone.

use http::{HeaderMap, header};

use super::weights::weighted;
use crate::protocol::media_type::{JSON, JSON_PATCH};

/// Whether deltas are preferred to full states.
#[must_use]
pub fn prefers_deltas(fields: &HeaderMap) -> bool {
    above_json(fields, JSON_PATCH).is_some()
}

/// The quality of a media type that is named above JSON, in thousandths; none: it is not.
pub(super) fn above_json(fields: &HeaderMap, media_type: &str) -> Option<u16> {
    let mut named = 0;
    // By how exactly a range names JSON: the most exact one counts.
    let mut json = (0, 0);
    for (range, quality) in weighted(fields, &header::ACCEPT) {
        let exactness = match &*range {
            JSON => 3,
            range if range == media_type => {
                named = quality;
                continue;
            }
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if exactness > json.0 {
            json = (exactness, quality);
        }
    }
    (named > json.1).then_some(named)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deltas_are_named_and_above_json() {
        for (accept, expected) in [
            (&[][..], false),
            (&["application/json-patch+json"], true),
            (&["Application/JSON-Patch+JSON;q=0.5, application/json;q=0.4"], true),
            (&["application/json-patch+json, application/json;q=0.9, */*;q=0.8"], true),
            (&["application/json;q=0.9", "application/json-patch+json"], true),
            (&["application/json-patch+json, application/json"], false),
            (&["application/json-patch+json, */*"], false),
            (&["application/json-patch+json, application/*;q=0.1, */*"], true),
            (&["application/json-patch+json, */*, application/json;q=0.1"], true),
            (&["application/json-patch+json;q=0"], false),
            (&["application/json-patch+json;q=x"], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["text/html, \"\u{e9}"], false),
        ] {
            let mut fields = HeaderMap::new();
            for accept in accept {
                let value = HeaderValue::from_bytes(accept.as_bytes()).expect("a field value");
                fields.append(header::ACCEPT, value);
            }
            assert_eq!(prefers_deltas(&fields), expected, "{accept:?}");
        }
    }
}
