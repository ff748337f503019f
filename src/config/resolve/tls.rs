//! How ports speak TLS.

use super::super::reader::Reader;
use super::super::{Tls, TlsClients, value};
use crate::access::certificate::NameKind;

/// How the port for clients does.
pub(super) fn of_clients(reader: &mut Reader<'_>) -> Option<Tls> {
    let is_required = reader.setting("tls-client-auth", client_auth);
    let tls = port(reader, ["tls-certificate", "tls-key", "tls-client-ca"], is_required.unwrap_or_default());
    for (flag, needed) in [
        ("tls-client-auth", &["tls-client-ca"][..]),
        ("access-certificate-names", &["tls-client-ca", "admin-tls-client-ca"]),
    ] {
        if let Some(given) = reader.given(flag)
            && needed.iter().all(|needed| reader.given(needed).is_none())
        {
            let needed = needed.iter().map(|needed| format!("--{needed}")).collect::<Vec<_>>().join(" or ");
            reader.wrong(given, &format!("is of no use without {needed}: give that too, or leave this out"));
        }
    }
    tls
}

/// How the port for operators does.
pub(super) fn of_admin(reader: &mut Reader<'_>) -> Option<Tls> {
    port(reader, ["admin-tls-certificate", "admin-tls-key", "admin-tls-client-ca"], false)
}

/// What a certificate's owner is called by.
pub(super) fn names(reader: &mut Reader<'_>) -> Vec<NameKind> {
    const NAMES: &str = "access-certificate-names";
    let names = reader.list(NAMES, name_kind);
    if !reader.contains(NAMES) {
        return NameKind::ALL.to_vec();
    }
    if let Some(given) = reader.given(NAMES)
        && names.iter().enumerate().any(|(at, name)| names[..at].contains(name))
    {
        reader.wrong(given, "or another kind is listed twice: list each once");
    } else if reader.given(NAMES).is_none() {
        reader.problems.push("access.certificates.names", "is empty: list uri, dns or cn, or leave the field out");
    }
    names
}

/// A port with the settings of these names: certificate, key and authorities.
fn port(reader: &mut Reader<'_>, flags: [&str; 3], is_required: bool) -> Option<Tls> {
    let [certificate, key, authorities] = flags.map(|flag| reader.optional(flag, value::file_path));
    for (flag, other) in [(flags[0], flags[1]), (flags[1], flags[0]), (flags[2], flags[0])] {
        if let (Some(given), None) = (reader.given(flag), reader.given(other)) {
            reader.wrong(given, &format!("is of no use without --{other}: give that too, or leave this out"));
        }
    }
    let clients = authorities.map(|authorities| TlsClients { authorities, is_required });
    Some(Tls { certificate: certificate?, key: key?, clients })
}

/// Whether a certificate is required.
fn client_auth(text: &str) -> Result<bool, String> {
    match text {
        "optional" => Ok(false),
        "required" => Ok(true),
        _ => Err("is neither optional nor required: write one of them".to_owned()),
    }
}

fn name_kind(text: &str) -> Result<NameKind, String> {
    let kind = NameKind::ALL.into_iter().find(|kind| kind.as_str() == text.trim());
    kind.ok_or_else(|| "is no kind of name: write uri, dns or cn".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::access::certificate::NameKind;
    use crate::config::Config;
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;

    fn resolved(yaml: &str) -> Result<Config, String> {
        let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
        let flags = Options { file: Some("x".to_owned()), ..Options::default() };
        let file = Some(ConfigFile { name: "f".to_owned(), text: Ok(format!("{head}{yaml}")) });
        resolve(&Layers { flags, environment: Vec::new(), file }).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_given_is_read_with_its_defaults() {
        assert_eq!(resolved("").expect("good").tls, None);
        let config = resolved("tls: {certificate: c, key: k}").expect("good");
        assert_eq!(config.tls.expect("given").clients, None);
        assert_eq!(config.access.certificate_names, NameKind::ALL);
        let yaml = "tls: {certificate: c, key: k, clientCa: a, clientAuth: required}\n\
                    access: {certificates: {names: [cn, uri]}}";
        let config = resolved(yaml).expect("good");
        assert!(config.tls.and_then(|tls| tls.clients).expect("given").is_required);
        assert_eq!(config.access.certificate_names, [NameKind::Cn, NameKind::Uri]);
        let open = "listen: 0.0.0.0:1\ntls: {certificate: c, key: k";
        assert!(resolved(&format!("{open}, clientCa: a}}")).is_ok(), "each client is asked who it is");
        let told = resolved(&format!("{open}}}")).expect_err("nobody is");
        assert!(told.contains("Tidewait asks nobody who they are"), "{told}");
    }

    #[test]
    fn one_without_the_other_is_told_with_its_place() {
        for (yaml, expected) in [
            ("tls: {certificate: c}", "f: tls.certificate: \"c\" is of no use without --tls-key"),
            ("tls: {key: k}", "f: tls.key: \"k\" is of no use without --tls-certificate"),
            ("tls: {clientCa: a}", "f: tls.clientCa: \"a\" is of no use without --tls-certificate"),
            (
                "tls: {certificate: c, key: k, clientAuth: required}",
                "f: tls.clientAuth: \"required\" is of no use without --tls-client-ca",
            ),
            (
                "tls: {certificate: c, key: k, clientCa: a, clientAuth: maybe}",
                "f: tls.clientAuth: \"maybe\" is neither optional nor required",
            ),
            (
                "access: {certificates: {names: [cn]}}",
                "f: access.certificates.names[0]: \"cn\" is of no use without --tls-client-ca",
            ),
            (
                "tls: {certificate: c, key: k, clientCa: a}\naccess: {certificates: {names: [cn, san]}}",
                "f: access.certificates.names[1]: \"san\" is no kind of name",
            ),
            (
                "tls: {certificate: c, key: k, clientCa: a}\naccess: {certificates: {names: [cn, cn]}}",
                "f: access.certificates.names[0]: \"cn\" or another kind is listed twice",
            ),
            (
                "tls: {certificate: c, key: k, clientCa: a}\naccess: {certificates: {names: []}}",
                "access.certificates.names: is empty",
            ),
            ("adminTls: {certificate: c}", "f: adminTls.certificate: \"c\" is of no use without --admin-tls-key"),
            ("adminTls: {clientCa: a}", "f: adminTls.clientCa: \"a\" is of no use without --admin-tls-certificate"),
            ("tls: {certificate: '', key: k}", "f: tls.certificate: \"\" is empty"),
            ("tls: {cert: c}", "f: tls.cert: is no field"),
        ] {
            let told = resolved(yaml).expect_err(yaml);
            assert!(told.lines().any(|line| line.starts_with(expected)), "{yaml}:\n{told}");
        }
    }
}
