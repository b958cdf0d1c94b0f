use super::*;
use crate::domain::algorithm::splitmix::{next_below, next_share};

/// A duration of about `middle`, between half and twice as much.
fn duration(middle: u64, seed: &mut u64) -> u64 {
    let part: usize = (0..4).map(|_| next_below(seed, 256)).sum();
    middle / 2 + middle * part as u64 / 1_024
}

/// Notes `count` values from `start` on, a step each. The first alarm, and after how many steps.
fn run(series: &mut Series, start: Millis, count: u64, mut value: impl FnMut(u64) -> u64) -> Option<(u64, Alarm)> {
    let mut first = None;
    for n in 0..count {
        let alarm = series.note(value(n), start + n * STEP_MS);
        first = first.or(alarm.map(|alarm| (n, alarm)));
    }
    first
}

fn normal_series(seed: &mut u64) -> Series {
    let mut series = Series::new(Metric::Latency);
    assert_eq!(run(&mut series, 0, 3_600, |_| duration(200, seed)), None);
    series
}

#[test]
fn a_series_takes_64_bytes() {
    assert!(size_of::<Series>() <= 64, "{}", size_of::<Series>());
}

#[test]
fn a_level_shift_is_told_with_its_time_and_size() {
    let mut series = normal_series(&mut 1);
    let mut seed = 2;
    let (steps, alarm) = run(&mut series, 3_600_000, 60, |_| duration(500, &mut seed)).expect("an alarm");
    assert!(steps < 10 && alarm.change == Change::Rise, "{steps} {alarm:?}");
    assert!(alarm.since.abs_diff(3_600_000) < 15_000, "{alarm:?}");
    assert!((170..230).contains(&alarm.normal) && alarm.seen > 250 && alarm.score > 1_000, "{alarm:?}");
}

#[test]
fn a_fall_is_told_too() {
    let mut series = normal_series(&mut 3);
    let mut seed = 4;
    let (_, alarm) = run(&mut series, 3_600_000, 60, |_| duration(80, &mut seed)).expect("an alarm");
    assert!(alarm.change == Change::Fall && alarm.seen < alarm.normal && alarm.score < 0, "{alarm:?}");
}

#[test]
fn one_enormous_value_is_a_spike_and_does_not_last() {
    let mut series = normal_series(&mut 5);
    let alarm = series.note(20_000, 3_600_000).expect("an alarm");
    assert!(alarm.change == Change::Spike && alarm.score > SPIKE, "{alarm:?}");
    assert_eq!(series.alarm(), None);
    assert!(series.normal().is_some_and(|normal| normal < 230), "normal is still normal");
}

#[test]
fn an_alarm_ends_when_all_is_normal_again() {
    let mut series = normal_series(&mut 6);
    let mut seed = 7;
    run(&mut series, 3_600_000, 60, |_| duration(500, &mut seed)).expect("an alarm");
    assert!(series.alarm().is_some());
    run(&mut series, 3_660_000, 40, |_| duration(200, &mut seed));
    assert_eq!(series.alarm(), None);
}

#[test]
fn what_persists_becomes_normal() {
    let mut series = normal_series(&mut 8);
    let mut seed = 9;
    run(&mut series, 3_600_000, u64::from(PERSISTS) + 50, |_| duration(500, &mut seed));
    assert_eq!(series.alarm(), None);
    assert!(series.normal().is_some_and(|normal| (400..600).contains(&normal)), "{series:?}");
}

#[test]
fn nothing_is_told_while_too_little_is_known() {
    let mut series = Series::new(Metric::Wait);
    assert_eq!(run(&mut series, 0, u64::from(WARM_UP), |n| 1 << (n % 30)), None);
}

#[test]
fn a_constant_series_bears_small_noise() {
    let mut series = Series::new(Metric::Hold);
    assert_eq!(run(&mut series, 0, 2_000, |_| 100), None);
    assert_eq!(run(&mut series, 2_000_000, 2_000, |n| 100 + n % 3), None);
}

#[test]
fn more_errors_are_told_soon_and_few_are_not() {
    for (permille, errors_allowed) in [(20, false), (250, true)] {
        let (mut series, mut seed) = (Series::new(Metric::Errors), 10);
        let mut is_error = |permille: u64| u64::from(next_share(&mut seed) * 1_000.0 < permille as f64);
        assert_eq!(run(&mut series, 0, 2_000, |_| is_error(20)), None);
        let found = run(&mut series, 2_000_000, 200, |_| is_error(permille));
        assert_eq!(found.is_some(), errors_allowed, "{found:?}");
        if let Some((steps, alarm)) = found {
            assert!(steps < 120 && alarm.change == Change::Rise && alarm.normal < 60_000, "{steps} {alarm:?}");
        }
    }
}

#[test]
fn fewer_hits_are_told() {
    let (mut series, mut seed) = (Series::new(Metric::Hits), 11);
    let mut is_hit = |share: f64| u64::from(next_share(&mut seed) < share);
    assert_eq!(run(&mut series, 0, 2_000, |_| is_hit(0.9)), None);
    let (steps, alarm) = run(&mut series, 2_000_000, 200, |_| is_hit(0.4)).expect("an alarm");
    assert!(steps < 60 && alarm.change == Change::Fall, "{steps} {alarm:?}");
}

#[test]
fn many_events_make_one_step_a_second() {
    let (mut series, mut seed) = (Series::new(Metric::Latency), 12);
    for n in 0..6_300 {
        series.note(duration(200, &mut seed), n * 10);
    }
    assert_eq!(series.normal(), None, "63 steps only");
}

#[test]
fn a_series_whose_rate_changes_is_still_normal() {
    let (mut series, mut seed, mut now) = (Series::new(Metric::Latency), 14, 0);
    for n in 0..60_000_u64 {
        now += if n / 3_000 % 2 == 0 { 10 } else { 400 };
        assert_eq!(series.note(duration(200, &mut seed), now), None, "{n}");
    }
}

#[test]
fn extreme_values_and_times_do_no_harm() {
    for metric in [Metric::Latency, Metric::Errors, Metric::Wait, Metric::Hold, Metric::Hits] {
        let mut series = Series::new(metric);
        for n in 0..20_000_u64 {
            let value = [0, u64::MAX, 1, n][(n / 100 % 4) as usize];
            series.note(value, [n * 1_000, u64::MAX, 0, n][(n % 7 % 4) as usize]);
            series.alarm();
        }
    }
}

#[test]
fn alarms_are_the_same_everywhere() {
    let (mut series, mut seed) = (Series::new(Metric::Latency), 13);
    run(&mut series, 0, 600, |n| duration(if n < 500 { 200 } else { 900 }, &mut seed));
    assert_eq!(series.alarm(), PINNED);
}

/// Made on x86-64. Another processor has to make the same.
const PINNED: Option<Alarm> =
    Some(Alarm { change: Change::Rise, since: 500_000, normal: 198, seen: 875, score: 9_353 });
