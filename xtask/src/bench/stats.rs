//! Percentiles of what was measured.

use std::time::Duration;

/// The percentile `of_hundred` by nearest rank: the smallest measured value that at least so many per cent do not exceed.
/// `None` where nothing was measured.
pub fn percentile(measured: &[Duration], of_hundred: usize) -> Option<Duration> {
    let mut sorted = measured.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * of_hundred).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// How many times `base` goes into `value`.
pub fn ratio(value: Duration, base: Duration) -> Option<f64> {
    (!base.is_zero()).then(|| value.as_secs_f64() / base.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_measured_values_whatever_their_order() {
        let values = millis((1..=200).rev());
        assert_eq!(percentile(&values, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&values, 100), Some(Duration::from_millis(200)));
        assert_eq!(percentile(&values, 0), Some(Duration::from_millis(1)));
    }

    #[test]
    fn one_value_is_every_percentile_and_none_is_none() {
        assert_eq!(percentile(&millis([7]), 50), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&millis([7]), 99), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn an_outlier_moves_the_99th_but_not_the_50th() {
        let values = millis(std::iter::repeat_n(10, 97).chain([500, 600, 700]));
        assert_eq!(percentile(&values, 50), Some(Duration::from_millis(10)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_millis(600)));
    }

    #[test]
    fn ratios_are_to_something() {
        assert_eq!(ratio(Duration::from_millis(30), Duration::from_millis(10)), Some(3.0));
        assert_eq!(ratio(Duration::from_millis(30), Duration::ZERO), None);
    }
}
