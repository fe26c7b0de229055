//! Faults for tests. In a build with debug assertions, `TENANTRY_FAULT` ends the process at one of its steps, or fills
//! the disk from it on: `kill:7`, `full:7`. A step is a write, or a request to a server that changes something.

use std::io;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicUsize, Ordering};

/// One step, just before it is done. The error is that of a full disk.
#[cfg(debug_assertions)]
pub fn step() -> io::Result<()> {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let Ok(fault) = std::env::var("TENANTRY_FAULT") else { return Ok(()) };
    let step = DONE.fetch_add(1, Ordering::Relaxed) + 1;
    let Some((kind, at)) = fault.split_once(':') else { return Ok(()) };
    let Ok(at) = at.parse::<usize>() else { return Ok(()) };
    match kind {
        // As SIGKILL: nothing is cleaned up.
        "kill" if step == at => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            Ok(())
        }
        "full" if step >= at => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

/// Nothing: other builds have no faults.
#[cfg(not(debug_assertions))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "the other build may fail")]
pub fn step() -> io::Result<()> {
    Ok(())
}
