//! The names that Kubernetes allows, checked before the API server is asked.

use super::Parsed;

pub(in crate::config) fn namespace(text: &str) -> Parsed<String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("is not a namespace: write at most 63 of a-z, 0-9 and -, not beginning or ending with -".to_owned())
}

pub(in crate::config) fn config_map_name(text: &str) -> Parsed<String> {
    if is_subdomain(text) {
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

/// `NAMESPACE` or `NAMESPACE/LABEL-SELECTOR`.
pub(in crate::config) fn operations(text: &str) -> Parsed<(String, String)> {
    let (space, labels) = text.split_once('/').unwrap_or((text, ""));
    if text.ends_with('/') {
        return Err("has an empty label selector: write NAMESPACE alone, or NAMESPACE/LABEL-SELECTOR".to_owned());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=!,() ".contains(&byte);
    if !labels.bytes().all(fits) {
        return Err(format!(
            "has the label selector {labels:?}: write one as kubectl takes it, such as app=edge,tier!=test"
        ));
    }
    match namespace(space) {
        Ok(space) => Ok((space, labels.to_owned())),
        Err(error) => Err(format!("names {space:?}, which {error}")),
    }
}

/// The name of a pod, or of what takes its place.
pub(in crate::config) fn replica(text: &str) -> Parsed<String> {
    if is_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("is not a pod's name: write at most 253 of a-z, 0-9, - and .".to_owned())
}

/// The uid of an object.
pub(in crate::config) fn uid(text: &str) -> Parsed<String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(text.to_owned());
    }
    Err("is not a uid: write metadata.uid of the pod".to_owned())
}

/// `v1` or `apps/v1`.
pub(in crate::config) fn api_version(text: &str) -> Parsed<String> {
    let (group, version) = text.rsplit_once('/').map_or((None, text), |(group, version)| (Some(group), version));
    if group.is_none_or(is_subdomain) && is_label(version) {
        return Ok(text.to_owned());
    }
    Err("is not an apiVersion: write GROUP/VERSION such as tidewait.dev/v1alpha1, or v1 for the core group".to_owned())
}

pub(in crate::config) fn kind(text: &str) -> Parsed<String> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphabetic()) && is_label(&text.to_ascii_lowercase());
    if fits {
        return Ok(text.to_owned());
    }
    Err("is not a kind: write one as manifests do, such as NetworkModel".to_owned())
}

/// The name of an object of any kind: some, such as roles, have a wider alphabet than a DNS name.
pub(in crate::config) fn object_name(text: &str) -> Parsed<String> {
    if (1..=253).contains(&text.len()) && is_word(text, b"-_.:") {
        return Ok(text.to_owned());
    }
    Err("is not an object's name: write 1 to 253 of a-z, A-Z, 0-9, -, _, . and :, \
         beginning and ending with a letter or digit"
        .to_owned())
}

/// A top-level field that can be a model.
pub(in crate::config) fn field(text: &str) -> Parsed<String> {
    if text == "metadata" {
        return Err("changes with every write to the object: name the field of the model, such as spec".to_owned());
    }
    let fits = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|c| c.is_ascii_alphanumeric());
    if fits && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    Err("is not a top-level field: write at most 63 letters and digits, such as spec or data".to_owned())
}

/// `name` or `domain/name`.
pub(in crate::config) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

pub(in crate::config) fn is_label_value(text: &str) -> bool {
    text.is_empty() || text.len() <= 63 && is_word(text, b"-_.")
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
        (sound(space, namespace(space)), sound(name, config_map_name(name)), part.map(|part| sound(part, key(part))));
    if errors.is_empty() { Ok(parts) } else { Err(errors.join("; ")) }
}

/// Letters and digits, and between them also these bytes.
fn is_word(text: &str, within: &[u8]) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || within.contains(&byte);
    let end = |c: char| c.is_ascii_alphanumeric();
    text.bytes().all(fits) && text.starts_with(end) && text.ends_with(end)
}

/// A DNS name (RFC 1123).
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns)
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
