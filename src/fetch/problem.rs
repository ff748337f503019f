//! PURE. What a problem (RFC 9457) says to people.

use http::StatusCode;

/// What a refusal says: this answer, of which the body begins so.
pub(crate) fn refusal(url: &str, status: StatusCode, media_type: Option<&str>, body: &[u8]) -> String {
    let detail = detail(media_type, body).map(|detail| format!(": {detail}"));
    format!("{url}: {status}{}", detail.unwrap_or_default())
}

/// The `detail` of a problem, or else its `title`; none: the answer is none.
fn detail(media_type: Option<&str>, body: &[u8]) -> Option<String> {
    let essence = media_type?.split(';').next()?.trim();
    if !essence.eq_ignore_ascii_case("application/problem+json") {
        return None;
    }
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    let said = ["detail", "title"].into_iter().find_map(|name| problem.get(name)?.as_str());
    said.filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_is_wrong() {
        const PROBLEM: Option<&str> = Some("Application/Problem+JSON; charset=utf-8");
        for (media_type, body, expected) in [
            (PROBLEM, r#"{"title":"Full","detail":"the queue is full"}"#, Some("the queue is full")),
            (PROBLEM, r#"{"title":"Full","detail":7}"#, Some("Full")),
            (PROBLEM, r#"{"title":""}"#, None),
            (PROBLEM, "[1]", None),
            (PROBLEM, "{\"detail\":\"cut", None),
            (Some("application/json"), r#"{"detail":"x"}"#, None),
            (None, r#"{"detail":"x"}"#, None),
        ] {
            assert_eq!(detail(media_type, body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
