//! `Date` (RFC 9110, section 6.6.1): written once a second.

use std::time::SystemTime;

use http::HeaderValue;

/// The field value, and the second that it names.
#[derive(Debug, Clone)]
pub struct Date {
    value: HeaderValue,
    second: u64,
}

impl Date {
    /// That of now.
    #[must_use]
    pub fn now() -> Self {
        Self::at(wall_clock())
    }

    fn at(now: SystemTime) -> Self {
        let value = HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is a field value");
        Self { value, second: second(now) }
    }

    /// Looks at the clock: to be called once for many answers.
    pub fn tick(&mut self) {
        let now = wall_clock();
        if second(now) != self.second {
            *self = Self::at(now);
        }
    }

    /// The field value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// Names its second.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.second
    }
}

#[expect(clippy::disallowed_methods, reason = "the field is the time of day")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn second(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
