//! The content codings of bodies (RFC 9110, section 8.4.1), by name.

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// As `Accept-Encoding` and `Content-Encoding` name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of a name, in any case; `x-gzip` is gzip (RFC 9110, section 8.4.1.3).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is = |coding: &Self| name.eq_ignore_ascii_case(coding.name());
        Self::ALL.into_iter().find(is).or_else(|| name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_names_its_coding() {
        assert!(Coding::ALL.into_iter().all(|coding| Coding::named(coding.name()) == Some(coding)));
        assert_eq!([Coding::named("X-GZip"), Coding::named("br"), Coding::named("")], [Some(Coding::Gzip), None, None]);
    }
}
