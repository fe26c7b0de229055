//! What several benches need.

use std::process::Child;
use std::time::Duration;

/// Waits for a process and gives its peak memory in MiB.
pub fn peak_of(mut child: Child) -> f64 {
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0.0f64;
    while child.try_wait().expect("wait").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("VmHWM:"));
        let peak = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
        memory = memory.max(peak.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(5));
    }
    memory
}
