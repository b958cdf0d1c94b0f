use super::*;
use crate::domain::algorithm::splitmix::{next_below, next_share};

const HOUR_MS: Millis = 3_600_000;

/// A series that gets `rate(ms)` a second, with noise of a quarter, from `start` on.
fn feed(series: &mut Series, start: Millis, duration: Millis, seed: &mut u64, rate: impl Fn(Millis) -> f64) -> Millis {
    for at in (start..start + duration).step_by(5_000) {
        let value = rate(at) * 5.0 * (0.75 + 0.5 * next_share(seed));
        series.note((value + next_share(seed)) as u64, at);
    }
    start + duration
}

/// Quiet at midnight, 20 a second more at noon; a triangle.
fn daily(at: Millis) -> f64 {
    let hour = (at % DAY_MS) as f64 / HOUR_MS as f64;
    5.0 + 20.0 * (1.0 - (hour - 12.0).abs() / 12.0)
}

#[test]
fn a_series_takes_less_than_a_kilobyte() {
    assert!(size_of::<Series>() <= 1_024, "{}", size_of::<Series>());
}

#[test]
fn a_constant_rate_is_forecast_at_all_horizons() {
    let mut series = Series::new(Kind::Count);
    let now = feed(&mut series, DAY_MS, 12 * HOUR_MS, &mut 1, |_| 10.0);
    for horizon in [1_000, 60_000, 600_000, HOUR_MS, 6 * HOUR_MS] {
        let said = series.forecast(now, horizon).expect("it is known");
        assert!((said.mean - 10.3).abs() < 0.8, "{horizon}: {said:?}");
        assert!(said.low < said.mean && said.mean < said.high && said.high < 15.0, "{horizon}: {said:?}");
    }
}

#[test]
fn the_hours_of_the_day_are_known_after_some_days() {
    let mut series = Series::new(Kind::Count);
    let now = feed(&mut series, 10 * DAY_MS, 5 * DAY_MS, &mut 2, daily);
    for hours in [1, 3, 6, 12, 18] {
        let said = series.forecast(now, hours * HOUR_MS).expect("it is known");
        let wanted = daily(now + hours * HOUR_MS);
        assert!((said.mean - wanted).abs() < 0.15 * wanted + 1.0, "{hours} h: {said:?} {wanted}");
    }
}

#[test]
fn a_step_is_followed_within_minutes() {
    let mut series = Series::new(Kind::Count);
    let now = feed(&mut series, DAY_MS, 3 * HOUR_MS, &mut 3, |_| 10.0);
    let now = feed(&mut series, now, 300_000, &mut 3, |_| 40.0);
    let said = series.forecast(now, 10_000).expect("it is known");
    assert!(said.mean > 32.0, "{said:?}");
}

#[test]
fn nine_of_ten_values_are_between_the_bounds() {
    let (mut series, mut seed) = (Series::new(Kind::Count), 4);
    let mut now = feed(&mut series, DAY_MS, HOUR_MS, &mut seed, |_| 10.0);
    let (mut inside, mut all) = (0, 0);
    for _ in 0..1_000 {
        let said = series.forecast(now, 10_000).expect("it is known");
        // The bucket that begins now ends before the one that is forecast.
        now = feed(&mut series, now, 10_000, &mut seed, |_| 10.0);
        let events: u64 = (0..2)
            .map(|half| {
                let value = (50.0 * (0.75 + 0.5 * next_share(&mut seed)) + next_share(&mut seed)) as u64;
                series.note(value, now + half * 5_000);
                value
            })
            .sum();
        now += 10_000;
        let rate = events as f64 / 10.0;
        inside += u32::from(said.low <= rate && rate <= said.high);
        all += 1;
    }
    assert!((860..=940).contains(&(inside * 1_000 / all)), "{inside} of {all}");
}

#[test]
fn a_gauge_without_values_keeps_what_it_knows_and_a_count_falls_to_nothing() {
    let (mut gauge, mut count) = (Series::new(Kind::Gauge), Series::new(Kind::Count));
    for at in (DAY_MS..DAY_MS + HOUR_MS).step_by(1_000) {
        gauge.note(200, at);
        count.note(1, at);
    }
    let later = DAY_MS + 3 * HOUR_MS;
    assert!(gauge.forecast(later, 10_000).is_some_and(|said| (said.mean - 200.0).abs() < 1.0));
    assert!(count.forecast(later, 10_000).is_some_and(|said| said.mean < 0.01));
}

#[test]
fn a_gap_of_a_year_costs_no_more_than_one_of_a_day() {
    for gap in [DAY_MS, 365 * DAY_MS, u64::MAX / 2] {
        let mut series = Series::new(Kind::Count);
        feed(&mut series, DAY_MS, HOUR_MS, &mut 5, |_| 10.0);
        let known = series.models[0].known();
        series.note(1, 2 * DAY_MS + gap);
        assert!(series.models[0].known() <= known + GAP_MAX + 1);
        assert!(series.models[1].known() <= 7 + GAP_MAX);
    }
}

#[test]
fn nothing_is_said_before_a_bucket_is_full() {
    let mut series = Series::new(Kind::Count);
    assert_eq!(series.forecast(DAY_MS, 10_000), None);
    series.note(5, DAY_MS);
    assert_eq!(series.forecast(DAY_MS + 1_000, 10_000), None);
    assert!(series.forecast(DAY_MS + 10_000, 10_000).is_some());
}

#[test]
fn any_times_and_values_give_finite_bounds() {
    let (mut series, mut seed) = (Series::new(Kind::Gauge), 6);
    for n in 0..3_000_u64 {
        let at = [n * 60_000, 0, u64::MAX, n][next_below(&mut seed, 40).saturating_sub(36)];
        series.note([0, 1, u64::MAX][next_below(&mut seed, 3)], at);
        let horizon = next_below(&mut seed, 1 << 40) as u64;
        if let Some(said) = series.forecast(at, horizon) {
            assert!(said.low >= 0.0 && said.high.is_finite() && said.mean.is_finite(), "{said:?}");
        }
    }
}

#[test]
fn forecasts_are_the_same_everywhere() {
    let (mut series, mut at) = (Series::new(Kind::Count), DAY_MS);
    for n in 0..20_000_u64 {
        series.note(n * 7 % 13, at);
        at += 9_000 + n % 1_000;
    }
    let said = [30_000, HOUR_MS].map(|ahead| series.forecast(at, ahead).map(|said| said.high.to_bits()));
    assert_eq!(said, PINNED);
}

/// Made on x86-64. Another processor has to make the same.
const PINNED: [Option<u64>; 2] = [Some(4_608_075_191_247_219_944), Some(4_604_222_608_787_906_467)];
