//! Flap damping: an agent that keeps coming and going is not offered for a while.
//!
//! After RFC 2439 (C. Villamizar et al., 1998): each return from silence costs a penalty, which
//! halves with every half-life. Above one bound the agent is damped, until the penalty has fallen
//! below a lower one. Only the primary computes it; penalties and times travel in events.

use super::agent::Flaps;
use crate::domain::Millis;

/// The penalty for one return from silence.
pub const PENALTY: u32 = 1_000;
/// Above this an agent is damped: at its third return in a short time.
pub const DAMPED_ABOVE: u32 = 2_500;
/// Below this it is offered again.
pub const OFFERED_BELOW: u32 = 750;
/// The penalty grows no further: an agent is damped for at most four half-lives.
pub const PENALTY_MAX: u32 = OFFERED_BELOW << 4;

/// The penalty that is left at `now`.
pub fn decayed(flaps: &Flaps, now: Millis, half_life_ms: Millis) -> u32 {
    if half_life_ms == 0 {
        return 0;
    }
    let half_lives = now.saturating_sub(flaps.at) as f64 / half_life_ms as f64;
    (f64::from(flaps.penalty) * (-half_lives).exp2()).round() as u32
}

/// The penalty of an agent that returns from silence. `None` without damping.
pub fn returned(flaps: Option<&Flaps>, now: Millis, half_life_ms: Millis) -> Option<Flaps> {
    if half_life_ms == 0 {
        return None;
    }
    let left = flaps.map_or(0, |flaps| decayed(flaps, now, half_life_ms));
    let penalty = left.saturating_add(PENALTY).min(PENALTY_MAX);
    // A damped agent stays damped until the penalty is low, however often it returns meanwhile.
    let was_damped = flaps.is_some_and(|flaps| flaps.damped_until > now);
    let damped_until = if penalty > DAMPED_ABOVE || was_damped {
        let half_lives = (f64::from(penalty) / f64::from(OFFERED_BELOW)).log2();
        now + (half_lives * half_life_ms as f64).ceil() as Millis
    } else {
        0
    };
    Some(Flaps { penalty, at: now, damped_until })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_LIFE: Millis = 60_000;

    fn after(returns: &[Millis]) -> Flaps {
        let step = |flaps: Option<Flaps>, at: &Millis| returned(flaps.as_ref(), *at, HALF_LIFE);
        returns.iter().fold(None, step).expect("returns")
    }

    #[test]
    fn the_third_return_in_short_time_damps() {
        assert_eq!(after(&[1_000, 6_000]).damped_until, 0);
        let damped = after(&[1_000, 6_000, 11_000]);
        assert!(damped.damped_until > 11_000 + HALF_LIFE, "{damped:?}");
        assert!(decayed(&damped, damped.damped_until, HALF_LIFE) <= OFFERED_BELOW);
        assert_eq!(after(&[1_000, 101_000, 201_000, 301_000]).damped_until, 0, "now and then is nothing");
    }

    #[test]
    fn the_time_kept_back_is_bounded() {
        let returns: Vec<Millis> = (1..500).map(|n| n * 100).collect();
        let damped = after(&returns);
        assert!(damped.damped_until <= 49_900 + 4 * HALF_LIFE + 1, "{damped:?}");
    }

    #[test]
    fn without_half_life_there_is_no_damping() {
        assert_eq!(returned(None, 5, 0), None);
    }
}
