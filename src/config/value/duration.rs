//! Durations: whole numbers with units, and their bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Parsed;

/// Whole numbers with units, the largest first: `25s`, `100ms`, `1m30s`, `2h`; zero needs no unit.
pub(in crate::config) fn duration(text: &str, bounds: &RangeInclusive<Duration>) -> Parsed<Duration> {
    let out_of_bounds = || format!("is out of bounds: write {} to {}", brief(*bounds.start()), brief(*bounds.end()));
    let millis = milliseconds(text)?.ok_or_else(out_of_bounds)?;
    Some(Duration::from_millis(millis)).filter(|length| bounds.contains(length)).ok_or_else(out_of_bounds)
}

/// None where it is beyond counting.
fn milliseconds(text: &str) -> Parsed<Option<u64>> {
    let malformed = || "is not a duration: write whole numbers with h, m, s or ms, such as 1m30s or 100ms".to_owned();
    if text == "0" {
        return Ok(Some(0));
    }
    if text.starts_with('-') {
        return Err("is negative: write a duration without the sign".to_owned());
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has no unit: write h, m, s or ms after the number, such as 25s".to_owned());
    }
    let mut units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)].into_iter();
    let (mut rest, mut total) = (text, Some(0_u64));
    while !rest.is_empty() || text.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if number.is_empty() {
            return Err(malformed());
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = tail;
    }
    Ok(total)
}

/// A bound as people write it.
pub(crate) fn brief(length: Duration) -> String {
    match length.as_millis() {
        0 => "0".to_owned(),
        millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::table;
    use super::*;
    use crate::config::ranges;

    #[test]
    fn durations() {
        let parse = |text: &str| duration(text, &ranges::MAX_WAIT);
        table(
            parse,
            |length| format!("{length:?}"),
            &[
                ("25s", "25s"),
                ("100ms", "100ms"),
                ("1m30s", "90s"),
                ("59m59s999ms", "3599.999s"),
                ("1h", "3600s"),
                ("007s", "7s"),
                ("0", "is out of bounds: write 1ms to 1h"),
                ("0s", "is out of bounds"),
                ("1h1ms", "is out of bounds"),
                ("99999999999999999999h", "is out of bounds"),
                ("18446744073709551615h", "is out of bounds"),
                ("25", "has no unit: write h, m, s or ms after the number, such as 25s"),
                ("-5s", "is negative"),
                ("", "is not a duration"),
                ("s", "is not a duration"),
                ("1s1m", "is not a duration"),
                ("1s1s", "is not a duration"),
                ("1.5s", "is not a duration"),
                ("1 s", "is not a duration"),
                ("5s ", "is not a duration"),
                ("5é", "is not a duration"),
                ("1m30", "is not a duration"),
            ],
        );
        assert_eq!(duration("0", &ranges::GRACE), Ok(Duration::ZERO), "zero needs no unit");
        for (millis, shown) in [(0, "0"), (1, "1ms"), (1500, "1500ms"), (200_000, "200s"), (7_200_000, "2h")] {
            assert_eq!(brief(Duration::from_millis(millis)), shown);
        }
    }
}
