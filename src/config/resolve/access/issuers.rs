//! Issuers of tokens.

use super::super::super::layer::Layer;
use super::super::super::reader::Reader;
use super::super::super::value;
use super::audience;
use crate::access::issuer::{IssuerConfig, KeySource};
use crate::access::tokens::is_name;

/// The issuer of the flags, or those of the file.
pub(super) fn issuers(reader: &mut Reader<'_>, listed: Option<&[Layer]>) -> Vec<IssuerConfig> {
    let mut issuers: Vec<IssuerConfig> = Vec::new();
    for layer in listed.unwrap_or_default() {
        let mut of_one = Reader { layers: vec![layer], problems: reader.problems };
        let Some(issuer) = listed_one(&mut of_one) else { continue };
        if issuers.iter().any(|other| other.url == issuer.url) {
            of_one.wrong_field("url", "is there twice: list each issuer once");
        }
        issuers.push(issuer);
    }
    let url = reader.optional("access-issuer", |text| text.parse().map_err(|error| format!("{error}")));
    let audience = reader.optional("access-issuer-audience", audience);
    match (url, audience) {
        (Some(url), Some(audience)) if listed.is_none() => issuers.push(IssuerConfig::new(url, audience)),
        (Some(_), _) | (_, Some(_)) => {
            for (one, other) in
                [("access-issuer", "access-issuer-audience"), ("access-issuer-audience", "access-issuer")]
            {
                if let (Some(given), None) = (reader.given(one), reader.given(other)) {
                    reader.wrong(given, &format!("is of no use alone: give --{other} too"));
                }
            }
            if let (Some(given), Some(_)) = (reader.given("access-issuer"), listed) {
                reader.wrong(given, "is given beside access.issuers of the file: list it there");
            }
        }
        (None, None) => {}
    }
    issuers
}

fn listed_one(reader: &mut Reader<'_>) -> Option<IssuerConfig> {
    let before = reader.problems.iter().count();
    for field in ["url", "audience"] {
        if !reader.contains(field) {
            reader.wrong_field(field, "is missing: write it");
        }
    }
    if reader.contains("algorithms") && reader.given("algorithms").is_none() {
        reader.wrong_field("algorithms", "is empty: list some, or leave the field out for RS256 and ES256");
    }
    let url = reader.optional("url", |text| text.parse().map_err(|error| format!("{error}")));
    let audience = reader.optional("audience", audience);
    let (name, groups) = (reader.optional("name", claim), reader.optional("groups", claim));
    let prefix = reader.optional("prefix", prefix);
    let keys = reader.optional("keys", value::file_path);
    let ca = reader.optional("ca", value::file_path);
    let algorithms = reader.list("algorithms", |text| text.parse().map_err(|error| format!("{error}")));
    let defaults = IssuerConfig::new(url?, audience?);
    let is_good = reader.problems.iter().count() == before;
    is_good.then(|| IssuerConfig {
        name: name.unwrap_or_else(|| defaults.name.clone()),
        groups,
        prefix: prefix.unwrap_or_default(),
        keys: keys.map_or(KeySource::Discovery, KeySource::File),
        ca,
        algorithms: if algorithms.is_empty() { defaults.algorithms.clone() } else { algorithms },
        ..defaults
    })
}

fn claim(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("is no claim: write the name of one, such as sub or groups".to_owned());
    }
    Ok(text.to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || is_name(text) {
        return Ok(text.to_owned());
    }
    Err("is no prefix: write letters, digits and -._:/@, such as corp:".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::resolved;

    #[test]
    fn an_issuer_is_read_with_all_that_it_says() {
        let yaml = "access: {issuers: [{url: 'https://a.example', audience: tidewait, name: email, groups: roles, \
                    prefix: 'corp:', keys: k.json, ca: ca.pem, algorithms: [PS256]}, \
                    {url: 'https://b.example/x', audience: other}]}";
        let issuers = resolved(yaml).expect("good").issuers;
        let told = format!("{issuers:?}");
        for part in
            ["https://a.example", "\"email\"", "\"roles\"", "\"corp:\"", "File(\"k.json\")", "ca.pem", "[Ps256]"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!((issuers.len(), &*issuers[1].name, issuers[1].algorithms.len()), (2, "sub", 2));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        for (yaml, expected) in [
            ("[]", "f: access.issuers: is empty"),
            ("[{url: 'https://a.example'}]", "f: access.issuers[0].audience: is missing: write it"),
            ("[{audience: a}]", "f: access.issuers[0].url: is missing: write it"),
            (
                "[{url: 'http://a.example', audience: a}]",
                "f: access.issuers[0].url: \"http://a.example\" is not protected",
            ),
            ("[{url: 'https://a.example', audience: 'a b'}]", "f: access.issuers[0].audience: \"a b\" is no audience"),
            (
                "[{url: 'https://a.example', audience: a, algorithms: [HS256]}]",
                "f: access.issuers[0].algorithms[0]: \"HS256\" is no algorithm that is permitted",
            ),
            ("[{url: 'https://a.example', audience: a, algorithms: []}]", "f: access.issuers[0].algorithms: is empty"),
            (
                "[{url: 'https://a.example', audience: a, prefix: 'é'}]",
                "f: access.issuers[0].prefix: \"é\" is no prefix",
            ),
            (
                "[{url: 'https://a.example', audience: a}, {url: 'https://a.example', audience: b}]",
                "f: access.issuers[1].url: is there twice",
            ),
        ] {
            let told = resolved(&format!("access: {{issuers: {yaml}}}")).expect_err(yaml);
            assert!(told.lines().any(|line| line.starts_with(expected)), "{yaml}:\n{told}");
        }
    }
}
