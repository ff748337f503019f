//! PURE. What those are told who are refused since nobody knows, or can find out, who they are: by both ports.

use crate::access::credential::{Invalid, Refusal};
use crate::describe::Problem;
use crate::describe::problem::Kind;

/// Seconds after which it may be known who sends a request.
const UNKNOWN_RETRY: u32 = 2;
/// Seconds after which a credential from the same address may be judged again.
const LIMITED_RETRY: u32 = 2;

/// Which credentials are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// None that a header field brings: client certificates alone, or nothing.
    No,
    /// Tokens.
    Bearer,
    /// Names with passwords.
    Basic,
    /// Both of these.
    Both,
}

impl Asks {
    /// Tokens, and names with passwords.
    #[must_use]
    pub fn of(bearer: bool, basic: bool) -> Self {
        match (bearer, basic) {
            (true, true) => Self::Both,
            (true, false) => Self::Bearer,
            (false, true) => Self::Basic,
            (false, false) => Self::No,
        }
    }

    /// `WWW-Authenticate` to who brings nothing (RFC 6750, section 3; RFC 7617, section 2).
    fn missing(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Bearer => "Bearer realm=\"tidewait\"",
            Self::Basic => "Basic realm=\"tidewait\", charset=\"UTF-8\"",
            Self::Both => "Bearer realm=\"tidewait\", Basic realm=\"tidewait\", charset=\"UTF-8\"",
        }
    }

    /// `WWW-Authenticate` to who brings something that is not good.
    fn invalid(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Bearer => "Bearer realm=\"tidewait\", error=\"invalid_token\"",
            Self::Basic => "Basic realm=\"tidewait\", charset=\"UTF-8\"",
            Self::Both => {
                "Bearer realm=\"tidewait\", error=\"invalid_token\", Basic realm=\"tidewait\", charset=\"UTF-8\""
            }
        }
    }

    fn send(self) -> &'static str {
        match self {
            Self::No => "connect with a client certificate",
            Self::Bearer => "send Authorization: Bearer and a token",
            Self::Basic => "send Authorization: Basic and a name with its password",
            Self::Both => "send Authorization: Bearer and a token, or Basic and a name with its password",
        }
    }

    /// The problem of a refusal.
    #[must_use]
    pub fn problem(self, refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Missing => self.challenge(self.missing(), self.send()),
            Refusal::Withdrawn => self.challenge(
                self.invalid(),
                "the credential was withdrawn, or has ended: ask for another one, and send that",
            ),
            Refusal::Invalid(invalid) => self.challenge(self.invalid(), self.why(invalid)),
            Refusal::Unavailable => Problem::retry(
                Kind::AccessUnknown,
                UNKNOWN_RETRY,
                "who may judge the credential, or what it allows, does not answer: try again",
            ),
            Refusal::Crowded => Problem::retry(
                Kind::AccessUnknown,
                UNKNOWN_RETRY,
                "too many credentials from this address, or requests of their owner, are being judged at once: try again",
            ),
            Refusal::TooManyForbidden => Problem::retry(
                Kind::AccessUnknown,
                LIMITED_RETRY,
                "you have asked for too much lately that is not allowed to you, so what else is will be found out later: try \
                 again, for what you may",
            ),
            Refusal::TooManyBad => Problem::retry(
                Kind::TooManyBadCredentials,
                LIMITED_RETRY,
                "too many bad credentials have come from this address, so no further one is judged: try again later, \
                 with a good one",
            ),
        }
    }

    fn challenge(self, challenge: &'static str, detail: impl Into<String>) -> Problem {
        match self {
            // There is no field that could be sent, and without a challenge it is no 401 (RFC 9110, section 15.5.2).
            Self::No => Problem::new(Kind::Forbidden, detail),
            Self::Bearer | Self::Basic | Self::Both => Problem::challenge(Kind::Unauthorized, challenge, detail),
        }
    }

    fn why(self, invalid: Invalid) -> String {
        let send = self.send();
        match invalid {
            Invalid::Several => "there are several Authorization fields: send one".to_owned(),
            Invalid::Scheme => format!("Authorization is of another scheme: {send}"),
            Invalid::Form => format!("Authorization has not the form that its scheme asks for: {send}"),
            Invalid::Clear => {
                "others can read this connection, so no credential is taken over it, and this one should be \
                               replaced: use https, or allow it (--allow-clear-credentials)"
                    .to_owned()
            }
            Invalid::Judged(why) => format!("the credential {why}"),
        }
    }
}
