//! One table: a line an operation, a column a size, and what each size costs of what the first one costs.

use std::time::Duration;

pub struct Table {
    lines: Vec<String>,
}

impl Table {
    pub fn new(engine: &str, sizes: &[i64]) -> Table {
        let sizes: Vec<String> = sizes.iter().map(|size| format!("{size:>17}")).collect();
        Table { lines: vec![format!("{:<44}{}", format!("{engine}, orders:"), sizes.join(""))] }
    }

    /// Settlements a second: a ratio of 0.8 is a fifth slower.
    pub fn add_rates(&mut self, name: &str, rates: &[Vec<f64>]) {
        let medians: Vec<f64> = rates.iter().map(|rates| median(rates.clone())).collect();
        self.add(name, &medians, |rate| format!("{rate:.0}/s"));
    }

    /// Medians: a ratio of 1.5 is half as slow again.
    pub fn add_times(&mut self, name: &str, times: &[Vec<Duration>]) {
        let medians: Vec<f64> =
            times.iter().map(|times| median(times.iter().map(Duration::as_secs_f64).collect())).collect();
        self.add(name, &medians, |time| format!("{:.2} ms", time * 1e3));
    }

    /// `None` is what the database ended because it took too long.
    pub fn add_once(&mut self, name: &str, times: &[Option<Duration>]) {
        let told = |time: &Option<Duration>| match time {
            Some(time) => format!("{:>17}", format!("{:.2} s", time.as_secs_f64())),
            None => format!("{:>17}", "ended after 5 s"),
        };
        self.lines.push(format!("{name:<44}{}", times.iter().map(told).collect::<String>()));
    }

    fn add(&mut self, name: &str, medians: &[f64], told: impl Fn(f64) -> String) {
        let column = |median: &f64| format!("{:>11} {:>5.2}", told(*median), median / medians[0]);
        self.lines.push(format!("{name:<44}{}", medians.iter().map(column).collect::<String>()));
    }

    pub fn print(&self) {
        println!("{}\n", self.lines.join("\n"));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
