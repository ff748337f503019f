//! PURE. A name and a password as a client sends them: `Authorization: Basic` (RFC 7617).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::access::Unverified;
use crate::bounds::{ACCESS_NAME_BYTES, PASSWORD_BYTES};

/// Clients send it with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const ENCODED: usize = (ACCESS_NAME_BYTES + 1 + PASSWORD_BYTES).div_ceil(3) * 4;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, which may be empty.
    pub name: String,
    /// The password, which may be empty.
    pub password: String,
}

/// Without the password, and without the name, which clients send a password as.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Reads what follows the name of the scheme.
pub fn read(encoded: &str) -> Result<Credentials, Unverified> {
    credentials(encoded).map_err(Unverified::Invalid)
}

fn credentials(encoded: &str) -> Result<Credentials, &'static str> {
    const LONG: &str = "has a name of more than 253 bytes, or a password of more than 1024: use shorter ones";
    if encoded.len() > ENCODED {
        return Err(LONG);
    }
    let bytes = BASE64.decode(encoded).map_err(|_| "is not in base64: send NAME:PASSWORD in base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "is not in UTF-8: send NAME:PASSWORD in UTF-8 and base64")?;
    let (name, password) =
        text.split_once(':').ok_or("has no colon between name and password: send NAME:PASSWORD in base64")?;
    if text.contains(char::is_control) {
        return Err("has a control character: send NAME:PASSWORD without line break");
    }
    if name.len() > ACCESS_NAME_BYTES || password.len() > PASSWORD_BYTES {
        return Err(LONG);
    }
    Ok(Credentials { name: name.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, password: &str) -> Credentials {
        Credentials { name: name.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn a_name_and_a_password_are_read() {
        for (field, expected) in [
            // RFC 7617, sections 2 and 2.1.
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", of("Aladdin", "open sesame")),
            ("dGVzdDoxMjPCow==", of("test", "123£")),
            ("YTpiOmM", of("a", "b:c")),
            ("Og==", of("", "")),
        ] {
            assert_eq!(read(field), Ok(expected), "{field}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let longest = of(&"n".repeat(ACCESS_NAME_BYTES), &"p".repeat(PASSWORD_BYTES));
        let encoded = |text: &str| STANDARD.encode(text);
        let whole = format!("{}:{}", longest.name, longest.password);
        assert_eq!(read(&encoded(&whole)), Ok(longest));
        for (field, expected) in [
            (String::new(), "has no colon"),
            (encoded("a"), "has no colon"),
            ("YT pi".to_owned(), "is not in base64"),
            ("YTpi====".to_owned(), "is not in base64"),
            ("YTo_".to_owned(), "is not in base64"),
            ("YTp=".to_owned(), "is not in base64"),
            ("YTr/".to_owned(), "is not in UTF-8"),
            (encoded("a:b\n"), "has a control character"),
            (encoded("a\0:b"), "has a control character"),
            (encoded("a:\u{85}"), "has a control character"),
            (encoded(&format!("{whole}p")), "has a name of more than"),
            (encoded(&format!("{}:", "n".repeat(ACCESS_NAME_BYTES + 1))), "has a name of more than"),
            (encoded(&"a:".repeat(9999)), "has a name of more than"),
        ] {
            match read(&field) {
                Err(Unverified::Invalid(text)) => assert!(text.starts_with(expected), "{field}: {text}"),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", of("who", "secret")), "Credentials { .. }");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(field in "\\PC{0,40}", name in "[^:\\p{C}]{0,20}", password in "\\PC{0,20}") {
            let _ = read(&field);
            let sent = STANDARD.encode(format!("{name}:{password}"));
            prop_assert_eq!(read(&sent), Ok(of(&name, &password)));
        }
    }
}
