//! PURE. Whether CPU or memory suffices for one more request.

use std::time::Duration;

use crate::bounds::WORKER_GATE_RESERVED;

/// Each request that has begun lately makes the next one need so much more: they will all want more than they use yet.
const GROWTH: f64 = 1.3;

/// Whether `required` is there once more: always for the first request; then what is idle, less what is reserved for those that have
/// begun lately, is at least `required` and more of it for each of them. `idle`: none is known. `ages`: since when each one runs.
///
/// What a request uses shows in `idle` only with time, so what it may use is reserved when it begins, and less and less of it after.
pub(super) fn admits(required: f64, idle: Option<f64>, ages: &[Duration]) -> bool {
    if ages.is_empty() {
        return true;
    }
    let Some(idle) = idle else { return false };
    let whole = WORKER_GATE_RESERVED.as_secs_f64();
    let parts = ages.iter().map(|age| 1.0 - age.as_secs_f64() / whole).filter(|part| *part > 0.0);
    let (reserved, needed) =
        parts.fold((0.0, required), |(reserved, needed), part| (reserved + required * part, needed * GROWTH));
    idle - reserved >= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_always_admitted_and_then_what_is_idle_less_what_is_reserved() {
        let (new, half, old) = (Duration::ZERO, WORKER_GATE_RESERVED / 2, WORKER_GATE_RESERVED);
        let cases: [(f64, Option<f64>, &[Duration], bool); 14] = [
            (1.0, Some(0.0), &[], true),
            (1.0, None, &[], true),
            (1.0, None, &[old], false),
            // One that runs for long shows in what is idle, and reserves nothing.
            (1.0, Some(1.0), &[old], true),
            (1.0, Some(0.99), &[old], false),
            // A new one reserves all that it needs, and the next needs 1.3 times as much.
            (1.0, Some(2.31), &[new], true),
            (1.0, Some(2.29), &[new], false),
            (1.0, Some(1.81), &[half], true),
            (1.0, Some(1.79), &[half], false),
            (1.0, Some(2.0 + 1.7), &[new, new], true),
            (1.0, Some(2.0 + 1.68), &[new, new], false),
            (1.0, Some(2.0 + 1.7), &[new, old, new], true),
            (512.0, Some(512.0 * 2.31), &[new], true),
            (512.0, Some(512.0 * 2.2), &[new], false),
        ];
        for (required, idle, ages, expected) in cases {
            assert_eq!(admits(required, idle, ages), expected, "{required} of {idle:?} with {ages:?}");
        }
    }
}
