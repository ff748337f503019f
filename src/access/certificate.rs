//! PURE. Whose a client certificate is: of the names that it has, one.

use std::fmt;

use super::tokens::is_name;

/// A kind of name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A URI among the alternative names of the subject (RFC 5280, section 4.2.1.6), as a SPIFFE ID is.
    Uri,
    /// A DNS name among them.
    Dns,
    /// The common name of the subject.
    Cn,
}

/// The names of a certificate, those of each kind in the order in which they stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// URIs.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Common names.
    pub cn: Vec<String>,
}

impl NameKind {
    /// The order that holds where none is set.
    pub const ALL: [Self; 3] = [Self::Uri, Self::Dns, Self::Cn];

    /// The word for it in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Cn => "cn",
        }
    }
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Names {
    /// The name of the owner: the first one of the first kind that there is. None where that is no name that rules can tell
    /// apart: another one of the certificate is not taken for it, or its owner would have two.
    #[must_use]
    pub fn owner(&self, order: &[NameKind]) -> Option<&str> {
        let of = |kind: &NameKind| match kind {
            NameKind::Uri => self.uris.first(),
            NameKind::Dns => self.dns.first(),
            NameKind::Cn => self.cn.first(),
        };
        order.iter().find_map(of).map(String::as_str).filter(|name| is_name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::NameKind::{Cn, Dns, Uri};
    use super::*;

    #[test]
    fn the_owner_is_the_first_name_of_the_first_kind() {
        let names = |uris: &[&str], dns: &[&str], cn: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Names { uris: owned(uris), dns: owned(dns), cn: owned(cn) }
        };
        let all = names(&["spiffe://a/b", "spiffe://c"], &["n.example"], &["node 1"]);
        for (order, names, owner) in [
            (&NameKind::ALL[..], &all, Some("spiffe://a/b")),
            (&[Dns, Uri], &all, Some("n.example")),
            (&[Cn, Dns], &all, None),
            (&[Cn, Dns], &names(&[], &["a"], &[]), Some("a")),
            (&[Uri], &names(&[], &["a"], &["b"]), None),
            (&[], &all, None),
            (&[Dns], &names(&[], &["*.example"], &[]), None),
            (&[Cn], &names(&[], &[], &[""]), None),
            (&[Cn], &names(&[], &[], &["a\nb"]), None),
        ] {
            assert_eq!(names.owner(order), owner, "{order:?} {names:?}");
        }
    }
}
