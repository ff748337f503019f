//! The names that Kubernetes allows, checked before the API server is asked.

use super::Parsed;

pub(in crate::config) fn namespace(text: &str) -> Parsed<String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("is not a namespace: write at most 63 of a-z, 0-9 and -, not beginning or ending with -".to_owned())
}

pub(in crate::config) fn object_name(text: &str) -> Parsed<String> {
    if text.len() <= 253 && text.split('.').all(is_dns) {
        return Ok(text.to_owned());
    }
    Err("is not a ConfigMap's name: write at most 253 of a-z, 0-9, - and ., \
         each part between points not beginning or ending with -"
        .to_owned())
}

pub(in crate::config) fn key(text: &str) -> Parsed<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // The API server refuses "." and what begins with "..", since a key can become a file.
    if (1..=253).contains(&text.len()) && text.bytes().all(fits) && text != "." && !text.starts_with("..") {
        return Ok(text.to_owned());
    }
    Err("is not a ConfigMap's key: write 1 to 253 of a-z, A-Z, 0-9, -, . and _, not . alone nor .. first".to_owned())
}

/// `NAMESPACE/NAME` or `NAMESPACE/NAME:KEY`.
pub(in crate::config) fn config_map(text: &str) -> Parsed<(String, String, Option<String>)> {
    let (space, rest) = text
        .split_once('/')
        .ok_or_else(|| "has no namespace: write NAMESPACE/NAME or NAMESPACE/NAME:KEY".to_owned())?;
    let (name, part) = rest.split_once(':').map_or((rest, None), |(name, part)| (name, Some(part)));
    let mut errors = Vec::new();
    let mut sound = |part: &str, parsed: Parsed<String>| {
        parsed.map_err(|error| errors.push(format!("names {part:?}, which {error}"))).unwrap_or_default()
    };
    let parts =
        (sound(space, namespace(space)), sound(name, object_name(name)), part.map(|part| sound(part, key(part))));
    if errors.is_empty() { Ok(parts) } else { Err(errors.join("; ")) }
}

/// A DNS label (RFC 1123).
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_dns(text)
}

fn is_dns(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::super::tests::table;
    use super::*;

    #[test]
    fn config_maps() {
        let long = format!("ns/{}", "x".repeat(254));
        table(
            config_map,
            |parts| format!("{parts:?}"),
            &[
                ("ns/models", "(\"ns\", \"models\", None)"),
                ("ns/my.models:a_B.json", "(\"ns\", \"my.models\", Some(\"a_B.json\"))"),
                ("models", "has no namespace"),
                ("N/models", "names \"N\", which is not a namespace: write at most 63"),
                ("ns/a..b", "names \"a..b\", which is not a ConfigMap's name"),
                ("ns/a-.b", "names \"a-.b\", which"),
                ("ns/", "names \"\", which is not a ConfigMap's name"),
                ("ns/a:", "names \"\", which is not a ConfigMap's key"),
                ("ns/a:..b", "names \"..b\", which is not a ConfigMap's key"),
                ("ns/a:b/c", "names \"b/c\", which is not a ConfigMap's key"),
                (&long, "names \"xxx"),
            ],
        );
        let all = config_map("N/_:.").expect_err("three mistakes");
        assert_eq!(all.matches(", which is not").count(), 3, "{all}");
    }
}
