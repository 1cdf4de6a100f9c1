//! What the threads of a process cost, from /proc.

use std::{fs, time::Duration};

/// A tick of `utime`: the kernel tells it to user programs in hundredths of a second, whatever it counts in.
const TICK: Duration = Duration::from_millis(10);

/// Time in user mode of the threads of this process whose name begins so.
pub fn user_time(name: &str) -> Duration {
    let mut ticks = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while it is looked at.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (head, rest) = stat.rsplit_once(')').unwrap();
        if head.split_once('(').unwrap().1.starts_with(name) {
            // proc(5): state is field 3, utime field 14.
            ticks += rest.split_whitespace().nth(11).unwrap().parse::<u32>().unwrap();
        }
    }
    TICK * ticks
}

/// Memory of a process that is resident now, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
